"""What a recipe asks about its vectors besides saving them: the values of `show`, the claims of `expect`.

The engine answers a flat list of statistics. This module makes that list and finds each answer in it again; of a claim
that is a comparison it asks for both sides too, so that a message can say how far it was missed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from weightmath.algebra.graph import Vector
from weightmath.algebra.show import COMPARISONS
from weightmath.engine.plan import Watched
from weightmath.recipe import Built


@dataclass(frozen=True)
class Claim:
    """An `expect` and whether it held; `left` and `right` are the numbers that it compared, where it did."""

    text: str
    held: bool
    left: float | None = None
    right: float | None = None


@dataclass(frozen=True)
class Answers:
    """The values of `show` by their text, and the claims of `expect`, both in the order of the recipe."""

    shown: tuple[tuple[str, Any], ...]
    claims: tuple[Claim, ...]


def questions(built: Built) -> tuple[Watched, ...]:
    """What the engine shall watch for a recipe."""
    watched = [Watched(text, value) for text, value in (*built.show, *built.expect) if isinstance(value, Vector)]
    sides = [Watched(text, side) for text, value in built.expect for side in _sides(value)]
    return (*watched, *sides)


def answers(built: Built, watched: tuple[tuple[str, Any], ...]) -> Answers:
    """The answers, from the values that the engine found for `questions`."""
    found: Iterator[Any] = iter([value for _, value in watched])

    def answer(value: Any) -> Any:
        return next(found) if isinstance(value, Vector) else value

    shown = tuple((text, answer(value)) for text, value in built.show)
    held = [bool(answer(value)) for _, value in built.expect]
    sides = [tuple(next(found) for _ in _sides(value)) for _, value in built.expect]
    claims = zip(built.expect, held, sides, strict=True)
    return Answers(shown, tuple(Claim(text, held, *pair) for (text, _), held, pair in claims))


def _sides(value: Vector | bool) -> tuple[Vector, ...]:
    return value.args if isinstance(value, Vector) and value.op in COMPARISONS else ()
