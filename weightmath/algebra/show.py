"""A node of the graph as the source text that a person would write.

What is printed means the same when it is read again as an expression, but for what expressions cannot say: tables,
which are parameters of a recipe, the coefficients that methods have solved for, and what is too deep to print.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weightmath.algebra.graph import Vector

COMPARISONS = {"equal": "==", "unequal": "!=", "less": "<", "greater": ">", "at_most": "<=", "at_least": ">="}
LOGIC = {"both": "&", "either": "|", "inverse": "~"}
ARITHMETIC = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**", "negative": "-"}
SYMBOLS = COMPARISONS | LOGIC | ARITHMETIC

# How tightly each operation binds, and how tightly its operands must at least, to go without parentheses.
_BINDING = {
    **dict.fromkeys(COMPARISONS, (1, 4, 4)),  # `a > b & c` is refused, and so are chains
    "either": (2, 2, 3),
    "both": (3, 3, 4),
    "add": (4, 4, 5),
    "subtract": (4, 4, 5),
    "multiply": (5, 5, 6),
    "divide": (5, 5, 6),
    "negative": (6, 6),
    "inverse": (6, 6),
    "power": (7, 8, 6),
}
_ATOM = 9
_DEPTH = 12
_MOST = 1 << _DEPTH  # operations: all of those that have two operands
_READABLE = 240  # letters


def shown_number(value: float) -> str:
    """A number in as few digits as tell it from all others."""
    if value == 0 and math.copysign(1, value) < 0:
        return "-0.0"
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def quoted(text: str) -> str:
    """A text in quotes; backslashes stay as they are."""
    return f'"{text}"' if "'" in text else f"'{text}'"


def show(vector: Vector) -> str:
    """The node as source text; what is too deep, or comes after thousands of operations, is shown as `...`."""
    return _shown(vector, _DEPTH, count())


def brief(vector: Vector) -> str:
    """The node as source text in a message: of a long one the first and the last part."""
    text = show(vector)
    return text if len(text) <= _READABLE else f"{text[: _READABLE // 2]} ... {text[-_READABLE // 4 :]}"


def _shown(vector: Vector, depth: int, operations: Iterator[int]) -> str:
    while vector.op == "declared":
        vector = vector.args[0]
    if vector.op in _LEAVES:
        return _LEAVES[vector.op](vector)
    if depth == 0 or next(operations) >= _MOST:
        return "..."
    if vector.op in ("largest_mask", "keep"):
        return _selection(vector, depth, operations)
    args = [_shown(arg, depth - 1, operations) for arg in vector.args]
    if vector.op in SYMBOLS:
        return _operation(vector, args)
    if vector.op == "item":
        return f"{args[0]}[{vector.option('index')}]"
    return _call(vector, args)


_LEAVES: dict[str, Callable[[Vector], str]] = {
    "constant": lambda vector: shown_number(vector.option("value")),
    "input": lambda vector: str(vector.option("name")),
    "by_name": lambda vector: str(vector.option("rule")),
}


def _operation(vector: Vector, args: Sequence[str]) -> str:
    _, *needed = _BINDING[vector.op]
    parts = [
        text if _binding(arg) >= least else f"({text})"
        for arg, text, least in zip(vector.args, args, needed, strict=True)
    ]
    symbol = SYMBOLS[vector.op]
    return symbol + parts[0] if len(parts) == 1 else f" {symbol} ".join(parts)


def _binding(vector: Vector) -> int:
    while vector.op == "declared":
        vector = vector.args[0]
    if vector.op == "constant" and math.copysign(1, vector.option("value")) < 0:
        return _BINDING["negative"][0]
    return _BINDING.get(vector.op, (_ATOM,))[0]


# Operations that are not called what their function is called, by the option that holds its name.
_NAMED_BY = {"cast": "kind", "whole_tensor": "function", "random": "draw"}
_OF_LISTS = ("median", "gram")


def _call(vector: Vector, args: list[str]) -> str:
    options = dict(vector.options)
    name = "abs" if vector.op == "absolute" else options.pop(_NAMED_BY.get(vector.op, ""), vector.op)
    if vector.op in _OF_LISTS:
        args = [f"[{', '.join(args)}]"]
    if vector.op == "only":
        name = "only" if options.pop("inside") else "without"
        args += [quoted(pattern) for pattern in options.pop("rule").patterns]
    args += [f"{key}={_value(value)}" for key, value in options.items() if value != ""]
    return f"{name}({', '.join(args)})"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return shown_number(value) if isinstance(value, int | float) else quoted(str(value))


def _selection(vector: Vector, depth: int, operations: Iterator[int]) -> str:
    value, cut = vector.args
    name = f"keep_{cut.option('order')}" if vector.op == "keep" else "largest_mask"
    chosen, density = (_shown(arg, depth - 1, operations) for arg in (value, cut.args[1]))
    return f"{name}({chosen}, density={density}, scope={quoted(cut.option('scope'))})"
