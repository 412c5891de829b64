"""The inputs of a recipe, opened: which files, under which names, and as which vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from weightmath.algebra.graph import Vector
from weightmath.engine.meter import Told, silent
from weightmath.errors import LayoutError, RecipeError, WeightmathError
from weightmath.files.choice import Chosen, choose
from weightmath.files.inputs import Opened, as_vector, open_input, placed
from weightmath.files.mismatch import Terms
from weightmath.files.naming import Naming
from weightmath.files.outputs import left_out
from weightmath.files.subject import Selection, Subject, check_patterns, subject_of
from weightmath.layout import Patterns
from weightmath.recipe import Recipe
from weightmath.recipe.overrides import EXPRESSION

_OF_COMMANDS = (EXPRESSION, "soup", "landscape")  # what makes the recipe of a command, in which users say nothing more


@dataclass(frozen=True)
class Inputs:
    """What a recipe reads.

    models   every checkpoint by its name in messages; those of a list are `runs[0]`, `runs[1]`, ...
    lists    for each list, which files it consists of
    """

    recipe: Recipe
    models: Mapping[str, Opened]
    lists: Mapping[str, Chosen]

    def of(self, name: str) -> list[Opened]:
        """The models of an input: one, or those of a list in order."""
        return [opened for opened in self.models.values() if opened.input == name]

    @property
    def first_template(self) -> Opened:
        """The template of the first output, or what it would be where nothing is saved: its section is the layout."""
        return self.template(next(iter(self.recipe.spec.save), None))

    def template(self, output: str | None) -> Opened:
        """The template of an output: the one it names, else the first input that is a whole model; of a list the last.

        Where no input is a whole model, it is the first that is whole; where nothing is saved, it may be a delta file.
        """
        named = None if output is None else self.recipe.spec.save[output].template
        if named is not None:
            return self.of(named)[-1]
        default = self.recipe.default_template(self.deltas)
        if default is None and output is None and self.deltas:
            default = self.deltas[0]
        if default is None:
            fact = "no input is a whole model that could be the template"
            hint = f"name one: template: {next(iter(self.models))}"
            if self.recipe.document.name == EXPRESSION:
                hint = "give one, used or not: base=base.ckpt"
            raise RecipeError(fact, where=self.recipe.where("inputs"), hint=hint)
        return self.of(default)[-1]

    @property
    def deltas(self) -> list[str]:
        """Inputs that consist of delta files."""
        return [name for name in self.recipe.spec.inputs if all(opened.is_delta_input for opened in self.of(name))]

    def dropped(self, output: str) -> frozenset[str]:
        """Tensors of its template's section that an output leaves out."""
        template, spec = self.template(output), self.recipe.spec.save[output]
        if not spec.drop and spec.keep == "all":
            return frozenset()
        is_left_out = left_out(template.section, spec.drop, spec.keep)
        return frozenset(name for name, info in template.tensors.items() if is_left_out(info))

    def grouped(self, vectors: Mapping[str, Vector]) -> dict[str, Vector | list[Vector]]:
        """Vectors by the names of inputs, as expressions see them: a list is a list."""
        found: dict[str, Vector | list[Vector]] = {}
        for name in self.recipe.spec.inputs:
            models = [vectors[opened.name] for opened in self.of(name)]
            found[name] = models if name in self.lists else models[0]
        return found


def open_inputs(recipe: Recipe, progress: Told = silent) -> Inputs:
    """Open the headers of all inputs. Fails with what is wrong and the input's place in the recipe.

    `progress` is told how many files are open, and how many there are.
    """
    lists = {name: _chosen(recipe, name) for name, spec in recipe.spec.inputs.items() if spec.glob is not None}
    files: dict[str, Path] = {}
    for name, spec in recipe.spec.inputs.items():
        if spec.path is not None:
            files[name] = recipe.resolve(spec.path)
        else:
            files |= {f"{name}[{i}]": path for i, path in enumerate(lists[name].files)}
    models: dict[str, Opened] = {}
    for name, path in files.items():
        progress(len(models), len(files))
        models[name] = _opened(recipe, name, path)
    return Inputs(recipe, models, lists)


def _chosen(recipe: Recipe, name: str) -> Chosen:
    spec = recipe.spec.inputs[name]
    assert spec.glob is not None
    counts = {"first": spec.first, "last": spec.last, "best": spec.best}
    keep = next(((word, count) for word, count in counts.items() if count is not None), None)
    outputs = [recipe.resolve(path) for path in recipe.outputs.values()]
    folder = recipe.path.parent if recipe.path else Path()
    try:
        return choose(spec.glob, folder, sort=spec.sort, keep=keep, exclude=spec.except_, outputs=outputs)
    except WeightmathError as error:
        raise placed(recipe.where("inputs", name), error) from None


def _opened(recipe: Recipe, name: str, path: Path) -> Opened:
    own = name.partition("[")[0]
    spec = recipe.spec.inputs[own]
    try:
        return open_input(name, path, section=spec.section, naming=Naming(spec.names, spec.strip, spec.rename))
    except WeightmathError as error:
        raise placed(recipe.where("inputs", own), error) from None


def subject_for(inputs: Inputs) -> Subject:
    """The tensors that a recipe is about; RecipeError for patterns that match none."""
    recipe, layout = inputs.recipe, inputs.first_template.layout
    spec = recipe.spec
    for key, patterns in (("only", spec.only), ("except", spec.except_), ("fit", spec.fit)):
        try:
            check_patterns(patterns, layout.names)
        except RecipeError as error:
            raise placed(recipe.where(key), error) from None
    try:
        layouts = [opened.layout for opened in inputs.models.values()]
        selection = Selection(Patterns(spec.only), Patterns(spec.except_), _dropped_by_all(inputs))
        return subject_of(layout, layouts, selection, spec.fit)
    except WeightmathError as error:
        raise placed(recipe.where("fit"), error) from None


def _dropped_by_all(inputs: Inputs) -> frozenset[str]:
    """Tensors that every output leaves out."""
    dropped = [inputs.dropped(output) for output in inputs.recipe.spec.save]
    return frozenset.intersection(*dropped) if dropped else frozenset()


def vectors_of(inputs: Inputs, subject: Subject) -> dict[str, Vector]:
    """The vector of every opened checkpoint; LayoutError for one that does not have the subject's layout."""
    recipe, template = inputs.recipe, inputs.first_template
    found: dict[str, Vector] = {}
    for name, opened in inputs.models.items():
        spec = recipe.spec.inputs[opened.input]
        kind = spec.kind or ("delta" if opened.is_delta_input else "model")
        missing, extra = spec.missing or recipe.spec.missing, spec.extra or recipe.spec.extra
        terms = Terms(kind, missing, extra, spec.part or opened.is_delta_input)
        try:
            found[name] = as_vector(opened, template, subject, terms)
        except WeightmathError as error:
            if error.hint and isinstance(error, LayoutError) and recipe.document.name in _OF_COMMANDS:
                error.hint = f"{recipe.document.name} has no place for it; in a recipe (weightmath new): {error.hint}"
            raise placed(recipe.where("inputs", opened.input), error) from None
    return found
