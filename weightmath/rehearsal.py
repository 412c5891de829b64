"""What can be told of a recipe without its checkpoints: for tests of a repository that holds recipes and no models.

Its YAML, keys, types and names are checked, its formulas are built with every argument in its range, and kinds are
added up as if each input had one tensor. What only checkpoints know stays open: whether tensors and patterns match.
"""

from __future__ import annotations

from dataclasses import dataclass

from weightmath import recipe
from weightmath.algebra.graph import Input, Vector, input_vector, topological
from weightmath.dtypes import FLOAT32
from weightmath.engine.plan import Output, Request, make_plan
from weightmath.job import callables
from weightmath.layout import Entry, Layout
from weightmath.questions import questions
from weightmath.recipe import Built, InputSpec, Recipe

_ONE_TENSOR = Layout.of([Entry("tensor", (1,), FLOAT32)])
_BY_NAME = ("by_name", "only")


@dataclass(frozen=True)
class Rehearsal:
    """What was checked.

    checked   "names", "formulas" or "kinds", each with those before it
    open      what only the checkpoints can tell, in a sentence; "" where nothing but their tensors is open
    warnings  inputs, parameters and entries of `let` that nothing uses
    """

    checked: str
    open: str
    warnings: tuple[str, ...]


def rehearse(source: Recipe) -> Rehearsal:
    """Check a recipe as far as possible. Fails with RecipeError or KindError as `run` would."""
    known = callables()
    recipe.check(source, known)
    open_lists = [name for name, spec in source.spec.inputs.items() if spec.glob is not None and _count(spec) is None]
    if open_lists:
        return Rehearsal("names", f"the length of the list `{open_lists[0]}`", source.unused())
    built = recipe.build(source, {name: _vectors(name, spec) for name, spec in source.spec.inputs.items()}, known)
    rule = next((node for node in _nodes(built) if node.op in _BY_NAME), None)
    if rule is not None:
        return Rehearsal("formulas", f"which tensors `{rule}` is about", source.unused())
    _check_kinds(source, built)
    return Rehearsal("kinds", "", source.unused())


def _count(spec: InputSpec) -> int | None:
    return spec.first or spec.last or spec.best


def _vectors(name: str, spec: InputSpec) -> Vector | list[Vector]:
    names = [name] if spec.glob is None else [f"{name}[{i}]" for i in range(_count(spec) or 0)]
    made = [input_vector(Input(each, _ONE_TENSOR, spec.kind or "model")) for each in names]
    return made[0] if spec.glob is None else made


def _nodes(built: Built) -> list[Vector]:
    return topological(
        [*built.saves.values(), *(value for _, value in (*built.show, *built.expect) if isinstance(value, Vector))]
    )


def _check_kinds(source: Recipe, built: Built) -> None:
    outputs = tuple(Output(name, value, where=source.where("save", name)) for name, value in built.saves.items())
    make_plan(Request(_ONE_TENSOR, outputs, questions(built), places=built.places))
