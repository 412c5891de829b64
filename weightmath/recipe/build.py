"""From a recipe and its input vectors to the lazy graph of what it shows, expects and saves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from weightmath.algebra.graph import Vector, by_name, topological
from weightmath.algebra.names import ByName, Table
from weightmath.errors import RecipeError
from weightmath.expression import Value, evaluate, parse
from weightmath.expression import check as check_expression
from weightmath.expression.nodes import Name, excerpt, postorder
from weightmath.recipe.recipe import Expression, Recipe
from weightmath.scope import Domain


@dataclass(frozen=True)
class Built:
    """What a recipe means: every named value in order of definition, and the ends that the work is done for.

    `places` has for each node the entry of the recipe that first makes it, as messages name it, and `recipes` for
    outputs that another recipe would make alone this recipe.
    """

    values: Mapping[str, Value]
    show: tuple[tuple[str, Value], ...]
    expect: tuple[tuple[str, Vector | bool], ...]
    saves: Mapping[str, Vector]
    places: Mapping[Vector, str]
    recipes: Mapping[str, Recipe] = field(default_factory=dict)


def check(recipe: Recipe, callables: Mapping[str, Callable[..., Any]]) -> None:
    """Check every name of a recipe without its checkpoints.

    Fails with RecipeError where an input, parameter or `let` entry has the name of a function or method, and where an
    expression uses a name that is unknown, or is defined further down, or a function that is unknown.
    """
    spec = recipe.spec
    for section, entries in (("inputs", spec.inputs), ("params", spec.params), ("let", spec.let)):
        for name in entries:
            if name in callables:
                hint = f"call it my_{name}"
                raise RecipeError(
                    f"`{name}` is the name of a function or method", where=recipe.where(section, name), hint=hint
                )
    for cell in recipe.cells():
        check_expression(cell.text, _params_before(recipe, cell), callables, where=recipe.where(*cell.path))
    known = [*spec.inputs, *spec.params]
    for expression in recipe.expressions():
        _check_order(recipe, expression, known)
        check_expression(expression.text, known, callables, where=recipe.where(*expression.path))
        if expression.path[0] == "let":
            known.append(str(expression.path[1]))


def _check_order(recipe: Recipe, expression: Expression, known: Sequence[str]) -> None:
    """Refuse a `let` entry that uses itself or a later one."""
    text = expression.text
    for node in postorder(parse(text)):
        if isinstance(node, Name) and node.name in recipe.spec.let and node.name not in known:
            itself = expression.path == ("let", node.name)
            fact = "is used in its own definition" if itself else "is used before it is defined"
            raise RecipeError(
                f"`{node.name}` {fact}\n{excerpt(text, node.start, node.end)}",
                where=recipe.where(*expression.path),
                hint="give the new value another name" if itself else f"move `{node.name}` above this entry",
            )


def build(
    recipe: Recipe, vectors: Mapping[str, Vector | Sequence[Vector]], callables: Mapping[str, Callable[..., Any]]
) -> Built:
    """Evaluate the expressions of a recipe into the lazy graph.

    Parameters
        vectors    the vector, or list of vectors, of every input
        callables  the functions and methods by name

    Fails as `check` does, and with RecipeError or KindError where an expression cannot be evaluated, an output is no
    vector, or an expectation is no single truth value; each with file, line and the expression.
    """
    check(recipe, callables)
    names: dict[str, Value] = {name: vectors[name] for name in recipe.spec.inputs}
    names |= _parameters(recipe, callables)
    show: list[tuple[str, Value]] = []
    expect: list[tuple[str, Vector | bool]] = []
    saves: dict[str, Vector] = {}
    places: dict[Vector, str] = {}
    for expression in recipe.expressions():
        place = recipe.where(*expression.path)
        value = evaluate(expression.text, names, callables, where=place)
        for node in topological(_vectors(value)):
            places.setdefault(node, place)
        section, key = expression.path
        if section == "let":
            names[str(key)] = value
        elif section == "show":
            show.append((expression.text, _shown(value, expression, place)))
        elif section == "expect":
            expect.append((expression.text, _expected(value, expression, place)))
        else:
            saves[str(key)] = _saved(value, expression, place)
    return Built(names, tuple(show), tuple(expect), saves, places)


def _vectors(value: Value) -> list[Vector]:
    items = value if isinstance(value, list | tuple) else [value]
    return [item for item in items if isinstance(item, Vector)]


def _params_before(recipe: Recipe, cell: Expression) -> list[str]:
    """The parameters that an expression in a table may use: those above it."""
    return list(recipe.spec.params)[: list(recipe.spec.params).index(str(cell.path[1]))]


def _parameters(recipe: Recipe, callables: Mapping[str, Callable[..., Any]]) -> dict[str, Value]:
    """Parameters as values; a table holds numbers, and rules such as ramps where expressions make them."""
    values: dict[str, Value] = {}
    for name, value in recipe.spec.params.items():
        if isinstance(value, dict):
            places = [recipe.where("params", name, pattern) for pattern in value]
            numbers = [_cell(*pair, values, callables) for pair in zip(value.values(), places, strict=True)]
            values[name] = Table(tuple(zip(value, numbers, strict=True)))
        else:
            values[name] = value
    return values


def _cell(
    cell: float | str, place: str, params: Mapping[str, Value], callables: Mapping[str, Callable[..., Any]]
) -> float | ByName:
    if not isinstance(cell, str):
        return float(cell)
    value = evaluate(cell, params, callables, where=place)
    if isinstance(value, Vector) and value.op == "by_name":
        rule: ByName = value.option("rule")
        return rule
    if isinstance(value, bool) or not isinstance(value, int | float):
        hint = "a number, or one of ramp(...), blocks(...), layer(...), match(...) by itself"
        raise _error("a table holds numbers, and this is none", Expression(cell, ()), place, hint)
    return float(value)


def _error(fact: str, expression: Expression, place: str, hint: str) -> RecipeError:
    text = expression.text
    return RecipeError(f"{fact}\n{excerpt(text, 0, len(text.rstrip()))}", where=place, hint=hint)


def _shown(value: Value, expression: Expression, place: str) -> Value:
    if isinstance(value, Table):
        return by_name(value)
    if isinstance(value, list | tuple) and not all(isinstance(item, int | float | str) for item in value):
        raise _error("this is a list, and not of plain numbers", expression, place, "show each of its items by itself")
    if isinstance(value, Vector) and value.domain == Domain.ELEMENT:
        hint = 'show a statistic of it: norm(x), or mean(x, scope="layer"); or save it: `save:` in a recipe, -o with -e'
        raise _error("this has a value for every element", expression, place, hint)
    return value


def _expected(value: Value, expression: Expression, place: str) -> Vector | bool:
    if isinstance(value, bool) or (isinstance(value, Vector) and value.domain <= Domain.GLOBAL):
        return value
    hint = "all(...) or any(...) of it is one"
    raise _error("an expectation is one truth value, and this has many", expression, place, hint)


def _saved(value: Value, expression: Expression, place: str) -> Vector:
    if isinstance(value, Vector):
        return value
    if isinstance(value, Sequence) and not isinstance(value, str):
        hint = "mean(list) averages it; list[0] is its first vector"
        raise _error("an output is one vector, and this is a list", expression, place, hint)
    raise _error("an output is a vector, and this holds none", expression, place, "it depends on at least one input")
