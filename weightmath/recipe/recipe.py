"""A recipe that has been read and checked by itself, before any checkpoint is opened."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from weightmath.checkpoint.ending import ENDINGS
from weightmath.checkpoint.hub import is_in_hub
from weightmath.errors import RecipeError, at, nearest, shell_word
from weightmath.expression import names_in, parse
from weightmath.expression.nodes import COMPARISONS, Binary, Call, Node, Unary, excerpt
from weightmath.paths import expanded
from weightmath.recipe import document as yaml_document
from weightmath.recipe import spec_errors
from weightmath.recipe.document import Document
from weightmath.recipe.keys import type_of
from weightmath.recipe.spec import RecipeSpec
from weightmath.recipe.vary import Setting, places_in
from weightmath.text_files import decoded

SET = "--set "  # before each parameter that the command line changes, in `Recipe.changes`


@dataclass(frozen=True)
class Expression:
    """One expression of a recipe: its text, and its place in the recipe's data."""

    text: str
    path: tuple[str | int, ...]


@dataclass(frozen=True)
class Recipe:
    """A recipe: what to read, compute, show, expect and save.

    Attributes
        text      as it was written
        path      the file it was read from, or None
        document  its plain data and their lines
        spec      its validated parts: inputs, params, let, show, expect, save, and the settings
        outputs   for each name in `save`, the path that is written
        changes   what the command line changed, as it was given: `--set strength=0.7`
    """

    text: str
    path: Path | None
    document: Document
    spec: RecipeSpec
    outputs: Mapping[str, str]
    changes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        written: dict[str, str] = {}
        for name, path in self.outputs.items():
            file = os.path.abspath(self.resolve(path))
            if file in written:
                fact = f"`{written[file]}` and `{name}` would be one file"
                raise RecipeError(fact, where=self.where("save", name), hint="give each output its own path")
            written[file] = name

    @property
    def name(self) -> str:
        """What reports call it: its file, "-" of standard input, or "-e"."""
        return str(self.path or self.document.name)

    @property
    def varying(self) -> tuple[str, ...]:
        """The parameters that vary and that the command line does not set."""
        given = {change.removeprefix(SET).partition("=")[0] for change in self.changes if change.startswith(SET)}
        return () if self.spec.vary is None else tuple(name for name in self.spec.vary.names if name not in given)

    def settings(self, names: Iterable[str]) -> str:
        """What sets these parameters to their values in a command: `--set alpha=0.5 --set beta=1`."""
        values = {name: self.spec.params[name] for name in names}
        texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in values.items()}
        return " ".join(SET + shlex.quote(f"{name}={text}") for name, text in texts.items())

    def where(self, *path: str | int) -> str:
        """The place of a part for a message: `merge.yaml:9: let.merged`."""
        return self.document.where(path)

    def resolve(self, path: str) -> Path:
        """A path of this recipe as it can be opened: relative to the recipe's folder, `~` is the home folder.

        `hf:org/name` means a model of the Hub wherever the recipe lies.
        """
        if is_in_hub(path):
            return Path(path)
        folder = self.path.parent if self.path else Path()
        return folder / expanded(path)

    def expressions(self) -> Iterator[Expression]:
        """Every expression in order of evaluation: `let`, `show`, `expect`, `save`."""
        yield from (Expression(text, ("let", name)) for name, text in self.spec.let.items())
        yield from (Expression(text, ("show", i)) for i, text in enumerate(self.spec.show))
        yield from (Expression(text, ("expect", i)) for i, text in enumerate(self.spec.expect))
        yield from (Expression(output.value, ("save", name)) for name, output in self.spec.save.items())

    def cells(self) -> Iterator[Expression]:
        """The expressions in tables of `params`, which are evaluated before all others."""
        for name, value in self.spec.params.items():
            if isinstance(value, dict):
                yield from (
                    Expression(text, ("params", name, key)) for key, text in value.items() if isinstance(text, str)
                )

    def default_template(self, deltas: Collection[str] = ()) -> str | None:
        """The input that is the template of outputs that name none: the first whole model, else the first whole one.

        deltas   inputs whose files are deltas, which the recipe cannot tell; None where no input is whole
        """
        whole = [name for name, spec in self.spec.inputs.items() if not spec.part and name not in deltas]
        models = [name for name in whole if self.spec.inputs[name].kind in (None, "model")]
        return next(iter(models or whole), None)

    def unused(self, deltas: Collection[str] = ()) -> tuple[str, ...]:
        """A warning for each input, parameter and entry of `let` that nothing uses; `deltas` as above.

        An input in no formula is used where it is the template of an output.
        """
        default = self.default_template(deltas)
        used = {output.template or default for output in self.spec.save.values()}
        expressions = (*self.cells(), *self.expressions())
        used.update(name for expression in expressions for name in names_in(expression.text))
        sections = {"inputs": self.spec.inputs, "params": self.spec.params, "let": self.spec.let}
        return tuple(
            f"{self.where(section, name)}: nothing uses `{name}`"
            for section, entries in sections.items()
            for name in entries
            if name not in used
        )


def load(path: str | Path) -> Recipe:
    """Read and check the recipe in a file.

    Fails with RecipeError, which names file, line and entry, for a file that cannot be read, invalid YAML, unknown or
    repeated keys, wrong types, names that clash, expressions outside the grammar. Names of functions are not looked
    up: `build.check` does.
    """
    file = expanded(path)
    if file.suffix.lower() in ENDINGS:
        line = f'weightmath run -e "0.5 * (a + b)" a={shell_word(path)} b=OTHER -o out.ckpt'
        fact = "is the name of a checkpoint, and a recipe is YAML"
        raise RecipeError(fact, where=str(path), hint=f"as an input: {line}")
    try:
        with file.open("rb") as stream:
            return read(stream, str(path), file)
    except FileNotFoundError:
        hint = nearest(file.name, _recipes_beside(file))
        raise RecipeError("there is no such file", where=str(path), hint=hint) from None
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", where=str(path)) from None


def _recipes_beside(file: Path) -> list[str]:
    """Recipes in its folder with names like its own: a common ending makes no two alike."""
    beside = sorted(file.parent.iterdir()) if file.parent.is_dir() else []
    recipes = [other for other in beside if other.suffix in (".yaml", ".yml", file.suffix)]
    return [other.name for other in recipes if nearest(file.stem, [other.stem])]


def read(stream: BinaryIO, name: str, path: Path | None = None) -> Recipe:
    """Read and check the recipe in a stream; `name` is what messages call it.

    Its paths are relative to the folder of `path`, or else to the current one. Fails as `load` does.
    """
    try:
        content = stream.read()
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", where=name) from None
    return loads(decoded(content, name), name, path)


def loads(text: str, name: str = "recipe", path: Path | None = None) -> Recipe:
    """Check the recipe in a text; `name` is what messages call it. Fails as `load` does."""
    return of_document(text, yaml_document.load(text, name), path)


def of_document(text: str, document: Document, path: Path | None = None) -> Recipe:
    """The recipe of a document. Fails as `load` does, for all but the YAML itself."""
    try:
        spec = RecipeSpec.model_validate(document.data)
    except ValidationError as error:
        raise spec_errors.translated(error, document) from None
    recipe = Recipe(text, path, document, spec, {name: name for name in spec.save})
    if not (spec.save or spec.show or spec.expect):
        hint = "save: {merged.ckpt: merged}, or show: norm(merged)"
        raise RecipeError("it saves nothing and shows nothing", where=document.name, hint=hint)
    _check_names(recipe)
    _check_vary(recipe)
    for expression in (*recipe.cells(), *recipe.expressions()):
        _check_expression(recipe, expression)
    for name, output in spec.save.items():
        if output.template is not None and output.template not in spec.inputs:
            hint = nearest(output.template, spec.inputs) or "a template is one of: " + " ".join(spec.inputs)
            place = recipe.where("save", name, "template")
            raise RecipeError(f"`{output.template}` is not an input", where=place, hint=hint)
    return recipe


def _check_names(recipe: Recipe) -> None:
    """Refuse a name that stands in two of `inputs`, `params` and `let`, which are one namespace."""
    owner: dict[str, str] = {}
    for section in ("inputs", "params", "let"):
        for name in getattr(recipe.spec, section):
            if name in owner:
                first = recipe.where(owner[name], name)
                hint = f"give one of them another name; the first is at {first}"
                raise RecipeError(f"`{name}` is defined twice", where=recipe.where(section, name), hint=hint)
            owner[name] = section


def _check_vary(recipe: Recipe) -> None:
    """Refuse what varies and is no parameter or of another type, and names of files that say what nothing is."""
    spec = recipe.spec
    if spec.vary is None:
        if spec.metric is not None:
            hint = "vary: {alpha: 'linspace(0, 1, 11)'}"
            raise RecipeError("there is a `metric` and nothing varies", where=recipe.where("metric"), hint=hint)
        return
    if not spec.save:
        fact, hint = "what varies is measured on what is saved, and nothing is", "save: {merged.ckpt: merged}"
        raise RecipeError(fact, where=recipe.where("vary"), hint=hint)
    single = [name for name, value in spec.params.items() if isinstance(value, Setting)]
    for name in spec.vary.names:
        place = recipe.where("vary", name)
        if name not in spec.params:
            hint = nearest(name, single) or f"params: {{{name}: 0}}"
            raise RecipeError(f"`{name}` varies and is no parameter", where=place, hint=hint)
        known, given = type_of(spec.params[name]), {type_of(value) for value in spec.vary.values_of(name)}
        if given != {known}:
            other = next(iter(given - {known}))
            raise RecipeError(f"`{name}` is {known}, and varies over {other}", where=place)
    for output in spec.save:
        for name in places_in(output):
            if name not in spec.params:
                hint = nearest(name, single) or f"those that can: {' '.join(single)}"
                fact = f"`{{{name}}}` in a file's name is no parameter"
                raise RecipeError(fact, where=recipe.where("save", output), hint=hint)


def _check_expression(recipe: Recipe, expression: Expression) -> None:
    place = recipe.where(*expression.path)
    try:
        root = parse(expression.text)
    except RecipeError as error:
        raise at(place, error) from None
    if expression.path[0] == "expect" and not _is_claim(root):
        raise RecipeError(
            f"an expectation is a comparison\n{excerpt(expression.text, root.start, root.end)}",
            where=place,
            hint="for example: cosine(merged, base) > 0.9, or all(...) of a mask",
        )


def _is_claim(root: Node) -> bool:
    if isinstance(root, Binary):
        return root.sign in (*COMPARISONS, "&", "|")
    if isinstance(root, Unary):
        return root.sign == "~"
    return isinstance(root, Call) and root.function in ("all", "any")
