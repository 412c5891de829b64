"""What a recipe asks about its vectors besides saving them: the values of `show`, the claims of `expect`.

The engine answers a flat list of statistics. This module makes that list and finds each answer in it again; of a claim
that is a comparison it asks for both sides too, so that a message can say how far it was missed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
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


def answers(built: Built, watched: Sequence[tuple[str, Any]]) -> Answers:
    """The answers, from the values that the engine found for `questions`."""
    values = dict(enumerate(value for _, value in watched))
    numbers = count()
    shown = tuple((text, values[next(numbers)] if isinstance(value, Vector) else value) for text, value in built.show)
    return Answers(shown, tuple(claim for _, claim in claims_of(built, values)))


def claims_of(built: Built, values: Mapping[int, Any]) -> list[tuple[int, Claim]]:
    """The claims that can be judged by the values that are known so far, with their numbers in the recipe.

    values   by their numbers in `questions`
    """
    places = count(sum(isinstance(value, Vector) for _, value in built.show))
    own = [next(places) if isinstance(value, Vector) else None for _, value in built.expect]
    sides = [[next(places) for _ in _sides(value)] for _, value in built.expect]
    found = []
    for number, (text, value) in enumerate(built.expect):
        place = own[number]
        if values.keys() >= {*sides[number], *([] if place is None else [place])}:
            held = bool(value if place is None else values[place])
            found.append((number, Claim(text, held, *(values[side] for side in sides[number]))))
    return found


def _sides(value: Vector | bool) -> tuple[Vector, ...]:
    return value.args if isinstance(value, Vector) and value.op in COMPARISONS else ()
