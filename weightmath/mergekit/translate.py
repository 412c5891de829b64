"""Merges of mergekit -> the parts of a recipe: which steps, in which order, under which names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from weightmath.errors import RecipeError, at
from weightmath.mergekit.config import Merge, Slice, Source
from weightmath.mergekit.formulas import step_of
from weightmath.mergekit.naming import identifier, is_file, names_of, path_of
from weightmath.mergekit.pieces import Parameter, Task
from weightmath.mergekit.settings import Rule, Setting, first_of, plain

_HALF = ("float16", "bfloat16")
_GRADIENT = "mergekit-pytorch gives all tensors the first number of a gradient; here it runs along the layers."
_STEPS = "mergekit saves each step, rounded to its dtype, and reads it again; here the steps are one formula."
_EMBEDDINGS = 'match("re:embed|wte|wpe")'
_ALL_LAYERS = "`layer_range` is taken for all layers that the models have; of deeper ones mergekit leaves out the rest."


@dataclass(frozen=True)
class Entry:
    """An entry of `let`, where mergekit computes something else, and the parameters that it uses."""

    expression: str
    notes: tuple[str, ...] = ()
    params: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(frozen=True)
class Parts:
    """A recipe in parts, in the order of its lines.

    saves     the value for each output
    settings  what holds for the whole recipe: dtype, compute, buffers
    notes     where mergekit computes something else in all steps
    left_out  what of the configuration has no part in the recipe, with the reason
    """

    inputs: Mapping[str, str]
    params: Mapping[str, Parameter]
    let: Mapping[str, Entry]
    saves: Mapping[str, str]
    settings: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()


def parts_of(merges: Sequence[Merge], taken: Sequence[str], *, like: bool) -> Parts:
    """The recipe that computes what the merges do; `taken` are names that values cannot have.

    Fails with RecipeError for merges that need each other in a circle, two of one name, too many or too few models,
    missing parameters, and options of mergekit that have no counterpart.
    """
    ordered = _in_order(merges)
    lets = _let_names(ordered, taken)
    made = {merge.name for merge in merges if merge.name is not None}
    models = [model for merge in ordered for model in merge.models if model not in made]
    bases = {one.base for merge in merges for one in merge.slices if one.base is not None and one.base not in made}
    inputs = names_of(dict.fromkeys(models), bases, [*taken, *lets.values()])
    names = {**inputs, **{name: lets[name] for name in made}}
    flat = all(map(is_file, inputs))
    let: dict[str, Entry] = {}
    for number, merge in enumerate(ordered):
        own = _Names(names, lets[merge.name], f"{lets[merge.name]}_" if len(ordered) > 1 else "", number, like, flat)
        let |= _entries(merge, own)
    params = {name: value for entry in let.values() for name, value in entry.params.items()}
    saves = {_output(lets[merge.name], inputs): lets[merge.name] for merge in _ends(ordered)}
    settings, notes = _numerics(ordered[-1], flat, like)
    notes += [_STEPS] if len(ordered) > 1 else []
    left_out = tuple(dict.fromkeys(pair for merge in merges for pair in merge.left_out))
    paths = {name: path_of(model) for model, name in inputs.items()}
    return Parts(paths, params, let, saves, settings, tuple(notes), left_out)


@dataclass(frozen=True)
class _Names:
    """What a merge needs to know of the others: names of models, its own, and the choices of the whole recipe."""

    models: Mapping[str, str]
    own: str
    prefix: str
    number: int
    like: bool
    flat: bool


def _in_order(merges: Sequence[Merge]) -> list[Merge]:
    """Each merge after those that it reads."""
    by_name: dict[str | None, Merge] = {}
    for merge in merges:
        if merge.name in by_name:
            fact = f"two merges are called `{merge.name}`" if merge.name else "two merges have no name"
            raise RecipeError(fact, where=merge.document.where(()), hint="give each its own `name:`")
        by_name[merge.name] = merge
    done: dict[str | None, Merge] = {}

    def visit(merge: Merge, way: tuple[str | None, ...]) -> None:
        if merge.name in way:
            circle = " -> ".join(str(name) for name in (*way[way.index(merge.name) :], merge.name))
            raise RecipeError(f"the merges need each other in a circle: {circle}", where=merge.document.where(()))
        for model in merge.models:
            if model in by_name and model not in done:
                visit(by_name[model], (*way, merge.name))
        done.setdefault(merge.name, merge)

    for merge in merges:
        visit(merge, ())
    return list(done.values())


def _let_names(merges: Sequence[Merge], taken: Sequence[str]) -> dict[str | None, str]:
    """The name of each merge's result."""
    found: dict[str | None, str] = {}
    for merge in merges:
        wanted = "merged" if merge.name is None else identifier(merge.name)
        clash = wanted in taken or wanted in found.values()
        found[merge.name] = f"{wanted}_merge" if clash else wanted
    return found


def _ends(merges: Sequence[Merge]) -> list[Merge]:
    """The merges that are saved: the one without a name, or those that no other one reads."""
    read = {model for merge in merges for model in merge.models}
    unnamed = [merge for merge in merges if merge.name is None]
    return unnamed or [merge for merge in merges if merge.name not in read]


def _output(name: str, inputs: Mapping[str, str]) -> str:
    """The output's name: a file where the models are files, else a folder."""
    first = next(iter(inputs))
    return f"{name}.{first.rpartition('.')[2]}" if is_file(first) else f"{name}/"


def _entries(merge: Merge, names: _Names) -> dict[str, Entry]:
    """The entries of `let` that a merge becomes."""
    if len(merge.slices) == 1:
        notes = [_ALL_LAYERS] if merge.slices[0].layers else []
        return _slice_entries(merge, merge.slices[0], names, names.own, names.prefix, notes)
    found: dict[str, Entry] = {}
    pieces: list[tuple[str, str]] = []
    for one in merge.slices:
        assert one.layers is not None  # only `models:`, which are one, are of all layers
        first, last = one.layers
        label = f"{names.prefix}layers_{first}_to_{last}"
        found |= _slice_entries(merge, one, names, label, f"{label}_", [])
        pieces.append((f"layer({first}, {last})" + ("" if pieces else f" | {_EMBEDDINGS}"), label))
    chosen = pieces[-1][1]
    for mask, label in reversed(pieces[:-1]):
        chosen = f"where({mask}, {label}, {chosen})"
    return {**found, names.own: Entry(chosen)}


def _slice_entries(
    merge: Merge, one: Slice, names: _Names, label: str, prefix: str, notes: list[str]
) -> dict[str, Entry]:
    try:
        task, more = _task(merge, one, names, prefix)
        step = step_of(merge.method_name, task)
    except RecipeError as error:
        raise at(merge.document.where(("merge_method",)), error) from None
    before = {name: Entry(expression) for name, expression in step.before.items()}
    return {**before, label: Entry(step.formula.text, (*notes, *more, *step.notes), step.formula.params)}


def _task(merge: Merge, one: Slice, names: _Names, prefix: str) -> tuple[Task, list[str]]:
    """The settings of a slice, complete; and what is to be said of them."""
    sources = [source for source in one.sources if source.model != one.base]
    _check_count(merge, one, len(sources))
    shared = {name: _resolved(merge, name, one.levels, None) for name in merge.method.shared}
    own = [{name: _resolved(merge, name, one.levels, source) for name in merge.method.own} for source in sources]
    notes: list[str] = []
    if any(len(rule.points) > 1 for settings in (shared, *own) for setting in settings.values() for rule in setting):
        if len(merge.slices) > 1:
            raise RecipeError("gradients within one of several slices are not imported", hint="a number per slice is")
        if names.flat and names.like:
            shared, own = _first_numbers(shared), [_first_numbers(settings) for settings in own]
        elif names.flat:
            notes = [_GRADIENT]
    models = tuple(names.models[source.model] for source in sources)
    base = None if one.base is None else names.models[one.base]
    return Task(base, models, shared, own, prefix, names.like, names.number), notes


def _check_count(merge: Merge, one: Slice, count: int) -> None:
    method, name = merge.method, merge.method_name
    if method.base == "required" and one.base is None:
        raise RecipeError(f"`{name}` needs a `base_model`")
    besides = " besides the base" if one.base is not None else ""
    for bound, limit in (("at least", method.least), ("at most", method.most)):
        if limit is not None and (count < limit if bound == "at least" else count > limit):
            models = "one model" if limit == 1 else f"{limit} models"
            raise RecipeError(f"`{name}` takes {bound} {models}{besides}, and there are {count}")


def _resolved(merge: Merge, name: str, levels: Sequence[Mapping[str, Setting]], source: Source | None) -> Setting:
    """A parameter by the level that says it first: the model's own, the slice's, that of all; then its default."""
    all_levels = [*([source.settings] if source else []), *levels]
    found = first_of(level[name] for level in all_levels if name in level)
    default = (merge.method.own if source else merge.method.shared)[name]
    if default is not None:
        return first_of([found, plain(default)])
    if not found:
        whose = f" of `{source.model}`" if source else ""
        where = merge.document.where(source.place) if source else None
        raise RecipeError(f"`{merge.method_name}` needs the parameter `{name}`{whose}", where=where)
    return found


def _first_numbers(settings: Mapping[str, Setting]) -> dict[str, Setting]:
    return {name: tuple(Rule(rule.filter, rule.points[:1]) for rule in setting) for name, setting in settings.items()}


def _numerics(merge: Merge, flat: bool, like: bool) -> tuple[dict[str, str], list[str]]:
    """The settings of the recipe that follow from mergekit's dtypes, and what differs all the same."""
    dtype = merge.out_dtype or merge.dtype
    settings = {"dtype": dtype} if dtype else {}
    notes = []
    if merge.dtype == "float64":
        settings["compute"] = "float64"
    elif merge.dtype in _HALF:
        notes.append(
            f"mergekit rounds the models to {merge.dtype} and computes in it; here it is float32, rounded once."
        )
    elif merge.dtype is None:
        notes.append(
            "mergekit computes in the dtype of the models; here it is float32 at least, rounded once at the end."
        )
    if like and flat:
        settings["buffers"] = "merge"
    return settings, notes
