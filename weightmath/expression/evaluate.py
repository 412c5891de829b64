"""The value of an expression: names looked up, constants folded, vectors combined into the lazy graph."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from weightmath.algebra.graph import Vector, is_number, number_hint, vector
from weightmath.algebra.names import Table
from weightmath.errors import E, RecipeError, WeightmathError, at, listed, nearest
from weightmath.expression.nodes import (
    COMPARISONS,
    Binary,
    Call,
    Index,
    ListOf,
    Literal,
    Name,
    Node,
    Unary,
    children,
    excerpt,
    postorder,
)
from weightmath.expression.parser import parse
from weightmath.scope import DOMAINS

# What an expression is made of and gives. Sequences hold numbers, texts or vectors.
Value = Vector | Table | float | str | bool | Sequence[Any]

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
    "&": operator.and_,
    "|": operator.or_,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FEW = 8  # functions, or names, that a message lists
# Below it float64 holds every whole number.
_EXACT = 2**53


def evaluate(
    text: str, names: Mapping[str, Value], callables: Mapping[str, Callable[..., Any]], *, where: str | None = None
) -> Value:
    """The value of an expression.

    Parameters
        text       the expression; parser.py has the grammar
        names      the values that it may use: vectors, numbers, texts, tables, lists
        callables  the functions and methods that it may call
        where      the place that an error names: `merge.yaml:9: let.merged`

    Numbers are folded in float64 (a whole result that float64 holds exactly stays whole). Fails with a RecipeError,
    or the error of the function that was called, whose text shows the line with carets under the subexpression.
    """
    stack: list[Value] = []  # operands before what they are used in: a sum of thousands of terms is no recursion
    try:
        for node in postorder(parse(text)):
            first = len(stack) - len(children(node))
            operands = stack[first:]
            del stack[first:]
            try:
                stack.append(_applied(node, operands, names, callables))
            except WeightmathError as error:
                _excerpted(error, text, node)
                raise
    except WeightmathError as error:
        at(where, error)
        raise
    return stack[0]


def _applied(
    node: Node, operands: list[Any], names: Mapping[str, Value], callables: Mapping[str, Callable[..., Any]]
) -> Value:
    """The value of a node whose operands are known."""
    if isinstance(node, Literal):
        return node.value
    if isinstance(node, Name):
        if node.name not in names:
            raise _unknown_name(node.name, names, callables)
        return names[node.name]
    if isinstance(node, ListOf):
        return operands
    if isinstance(node, Call):
        if node.function not in callables:
            raise _unknown_function(node.function, names, callables)
        count = len(node.arguments)
        keywords = {name: value for (name, _), value in zip(node.keywords, operands[count:], strict=True)}
        result: Value = callables[node.function](*operands[:count], **keywords)
        return result
    return _operated(node, operands)


def check(text: str, names: Collection[str], callables: Collection[str], *, where: str | None = None) -> None:
    """Fail as `evaluate` would for an expression outside the grammar, or with unknown names or functions."""
    try:
        for node in postorder(parse(text)):
            if isinstance(node, Name) and node.name not in names:
                raise _excerpted(_unknown_name(node.name, names, callables), text, node)
            if isinstance(node, Call) and node.function not in callables:
                raise _excerpted(_unknown_function(node.function, names, callables), text, node)
    except WeightmathError as error:
        at(where, error)
        raise


def _unknown_name(name: str, names: Collection[str], callables: Collection[str]) -> RecipeError:
    if name in callables:
        return RecipeError(f"`{name}` is a function or method, and here it is not called", hint=f"write {name}(...)")
    if name in DOMAINS:
        return RecipeError(f"unknown name `{name}`", hint=f'a text stands in quotes: "{name}"')
    known = f"the names here are: {listed(list(names), _FEW)}" if names else None
    return RecipeError(f"unknown name `{name}`", hint=nearest(name, names) or known)


def _unknown_function(function: str, names: Collection[str], callables: Collection[str]) -> RecipeError:
    if function in names:
        return RecipeError(f"`{function}` is not a function", hint="is a `*` missing before the bracket?")
    few = f"the functions here are: {' '.join(callables)}" if len(callables) <= _FEW else None
    hint = nearest(function, callables) or few or "`weightmath functions` and `weightmath methods` list all"
    return RecipeError(f"unknown function `{function}`", hint=hint)


def _excerpted(error: E, text: str, node: Node) -> E:
    """The error with the line it stands in; a place that it has is a function's name, the recipe's goes before it."""
    function = f"{error.where}: " if error.where else ""
    error.what = f"{function}{error.what}\n{excerpt(text, node.start, node.end)}"
    error.where = None
    return error


def _operated(node: Node, operands: list[Any]) -> Value:
    if isinstance(node, Index):
        return _indexed(operands[0], node.position)
    if isinstance(node, Unary):
        return _negated(operands[0]) if node.sign == "-" else _inverted(operands[0])
    assert isinstance(node, Binary)
    return _combined(node.sign, *operands)


def _described(value: object) -> str:
    """What a value is, for a message."""
    if isinstance(value, bool):
        return f"`{str(value).lower()}` is a truth value"
    if isinstance(value, str):
        return f"'{value}' is text"
    if isinstance(value, Sequence):
        return f"there is a list of {len(value)} here"
    return f"`{value}` is a number" if is_number(value) else "this is a table"


def _indexed(items: Value, position: int) -> Value:
    if isinstance(items, Vector):
        return items[position]
    if isinstance(items, str) or not isinstance(items, Sequence):
        raise RecipeError(f"an index takes an item of a list, and {_described(items)}")
    if not -len(items) <= position < len(items):
        raise RecipeError(f"index {position} is outside a list of {len(items)}", hint="the first is 0, the last is -1")
    value: Value = items[position]
    return value


def _combined(sign: str, left: Value, right: Value) -> Value:
    """Two values joined by a sign: numbers and truth values are folded, anything else becomes a node of the graph."""
    for operand in (left, right):
        _check_operand(sign, operand)
    if sign == "**" and not is_number(right):
        raise RecipeError("an exponent must be a plain number", hint="exp(log(a) * x) raises a to a vector x")
    if isinstance(left, Vector | Table) or isinstance(right, Vector | Table):
        # A table alone has no operators; as a node it is a number per tensor.
        sides = [vector(side) if isinstance(side, Table) else side for side in (left, right)]
        result: Value = _OPERATORS[sign](*sides)
        return result
    if sign in COMPARISONS or sign in ("&", "|"):
        return bool(_OPERATORS[sign](left, right))
    return _folded(sign, left, right)


def _check_operand(sign: str, operand: Value) -> None:
    if isinstance(operand, Vector):
        return
    if sign in ("&", "|", "~"):
        if not isinstance(operand, bool):
            hint = "comparisons make masks; put them in parentheses: (a > b) & (c > d)"
            raise RecipeError(f"`{sign}` takes masks, and {_described(operand)}", hint=hint)
    elif not is_number(operand) and not isinstance(operand, Table):
        way_out = number_hint(operand)
        if not isinstance(operand, str | bool) and isinstance(operand, Sequence):
            way_out = "sum(list) and mean(list) combine the vectors of a list; list[0] is the first"
        raise RecipeError(f"`{sign}` takes vectors and numbers, and {_described(operand)}", hint=way_out)


def _folded(sign: str, left: Any, right: Any) -> float:
    """Arithmetic on two numbers in float64, which no number can make slow: 9**9**9 overflows at once."""
    try:
        result = _OPERATORS[sign](float(left), float(right))
    except ZeroDivisionError:
        raise RecipeError("division by zero") from None
    except OverflowError:
        result = math.inf
    if isinstance(result, complex):
        raise RecipeError("a negative number has no real power with a fraction in the exponent")
    if not math.isfinite(result):
        raise RecipeError("the result is too large for a float64")
    whole = isinstance(left, int) and isinstance(right, int) and sign != "/" and not (sign == "**" and right < 0)
    return int(result) if whole and abs(result) < _EXACT else float(result)


def _negated(operand: Value) -> Value:
    _check_operand("-", operand)
    result: Value = -(vector(operand) if isinstance(operand, Table) else operand)  # type: ignore[operator]
    return result


def _inverted(operand: Value) -> Value:
    _check_operand("~", operand)
    return not operand if isinstance(operand, bool) else ~operand  # type: ignore[operator]
