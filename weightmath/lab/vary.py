"""The points that a recipe's `vary` means, in order: grids, zipped lists, random samples, and their combinations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from random import Random

from weightmath.errors import RecipeError
from weightmath.recipe.vary import MOST_POINTS, Range, Setting, VarySpec

Settings = dict[str, Setting]


def settings_of(vary: VarySpec) -> Iterator[Settings]:
    """The settings, one after another: of a grid the last name turns fastest.

    Where `grid`, `zip` and `random` stand together, each row of one is combined with each of the others. Fails with
    RecipeError for ranges without `samples`, and for more than a million points.
    """
    axes = [[{name: value} for value in values] for name, values in vary.grid.items()]
    if vary.zip:
        axes.append([dict(zip(vary.zip, row, strict=True)) for row in zip(*vary.zip.values(), strict=True)])
    if vary.random:
        if vary.samples is None:
            raise RecipeError("what varies at random needs a number of points", hint="samples: 20")
        axes.append(_drawn(vary.random, vary.samples, vary.seed))
    if math.prod(map(len, axes)) > MOST_POINTS:
        raise RecipeError(f"`vary` means {math.prod(map(len, axes)):,} points, and {MOST_POINTS:,} are the most")
    return ({name: value for part in parts for name, value in part.items()} for parts in product(*axes))


def _drawn(axes: dict[str, Sequence[Setting] | Range], samples: int, seed: int) -> list[Settings]:
    """Points at random. More samples of one seed begin with the same points."""
    # Python promises that random() gives the same numbers for a seed in every version; nothing else is used of it.
    stream = Random(seed)
    return [{name: drawn(axis, stream.random()) for name, axis in axes.items()} for _ in range(samples)]


def drawn(axis: Sequence[Setting] | Range, u: float) -> Setting:
    """The value of a list or range at u in [0, 1)."""
    if not isinstance(axis, Range):
        return axis[int(u * len(axis))]
    if axis.whole:
        return int(axis.low) + int(u * (int(axis.high) - int(axis.low) + 1))
    if axis.log:
        return math.exp(math.log(axis.low) + u * (math.log(axis.high) - math.log(axis.low)))
    return axis.low + u * (axis.high - axis.low)
