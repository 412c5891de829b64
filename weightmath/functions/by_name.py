"""Masks and numbers that the names of tensors decide, and functions that narrow a vector to some tensors.

Patterns are globs over the whole name (`*attn*`, `blocks.?.mlp.*`), or regular expressions written `re:...`. A pattern that
matches no tensor is an error.
"""

from __future__ import annotations

from weightmath.errors import RecipeError
from weightmath.functions.declare import function
from weightmath.graph import Vector, by_name, node
from weightmath.names import Layers, Match, Matrices, Ramp
from weightmath.scope import Domain
from weightmath.signature import AnyVector, Plain, Text, Whole


@function
def match(*patterns: Text) -> Vector:
    """The mask of tensors whose name matches any of the patterns.

    Recipe: `mixed: where(match("*.bias"), chat, base)`
    """
    _need(patterns)
    return by_name(Match(patterns))


@function
def layer(first: Whole, last: Whole | None = None, *, along: Text | None = None) -> Vector:
    """The mask of tensors of layers first..last, the last one included; one argument means that layer alone.

    The layer number is the first number in a tensor's name, or the first group of `along="re:..."`.
    Recipe: `mixed: where(layer(0, 2), chat, base)`
    """
    end = first if last is None else last
    if end < first:
        raise RecipeError(f"layer({first}, {end}) is empty: the first layer comes after the last")
    return by_name(Layers(first, end, along))


@function
def ramp(*points: Plain, along: Text | None = None, otherwise: Plain | None = None) -> Vector:
    """A number per tensor that runs through the points from the lowest layer number to the highest, linearly between.

    The layer number is the first number in a tensor's name, or the first group of `along="re:..."`. Tensors without
    one get `otherwise`, by default the mean of the first and the last point.
    Recipe: `mixed: lerp(base, chat, ramp(0, 0.5, 1))`
    """
    if not points:
        raise RecipeError("a ramp needs at least one point", hint="ramp(0, 1)")
    return by_name(Ramp(points, along, otherwise))


@function
def matrices() -> Vector:
    """The mask of tensors with two or more dimensions.

    Recipe: `mixed: where(matrices(), chat, base)`
    """
    return by_name(Matrices())


@function
def only(x: AnyVector, *patterns: Text) -> Vector:
    """The vector narrowed to tensors that match: statistics and selections count just those.

    Elsewhere a narrowed delta is 0; a narrowed model is absent, and an output that is absent keeps its template's tensor.
    Recipe: `attention: base + only(chat - base, "*.weight")`
    """
    _need(patterns)
    return node("only", x, domain=Domain.ELEMENT, rule=Match(patterns), inside=True)


@function
def without(x: AnyVector, *patterns: Text) -> Vector:
    """The vector narrowed to tensors that do not match: the complement of `only`.

    Recipe: `body: base + without(chat - base, "*.bias")`
    """
    _need(patterns)
    return node("only", x, domain=Domain.ELEMENT, rule=Match(patterns), inside=False)


@function
def overlay(x: AnyVector, part: AnyVector) -> Vector:
    """The tensors of `part` where it has them, those of `x` elsewhere.

    Recipe: `baked: overlay(base, only(chat, "*.bias"))`
    """
    return node("overlay", x, part, domain=Domain.ELEMENT)


def _need(patterns: tuple[str, ...]) -> None:
    if not patterns:
        raise RecipeError("give at least one pattern", hint='"*attn*"')
