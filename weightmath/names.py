"""Numbers and masks that a tensor's name or shape decides: tables, patterns, layers, ramps.

Each rule is a frozen value with `values(layout)`, one float64 per entry. They are known without reading a tensor, so
the plan can fold them, skip inputs whose factor is 0, and print what they mean.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from weightmath.errors import RecipeError, nearest
from weightmath.layout import Entry, Layout, Patterns

Numbers = NDArray[np.float64]
_LAYER = re.compile(r"\d+")


class ByName(Protocol):
    """A rule from names to numbers."""

    @property
    def is_mask(self) -> bool:
        """Whether the numbers are truth values."""

    def values(self, layout: Layout) -> Numbers:
        """One number per entry, in flat order."""


@dataclass(frozen=True)
class Table:
    """A number per tensor from name patterns; the first pattern that matches decides, `otherwise` the rest."""

    patterns: tuple[tuple[str, float | ByName], ...]
    otherwise: float | None = None
    is_mask = False

    def values(self, layout: Layout) -> Numbers:
        """RecipeError for a pattern that matches nothing, or a tensor that nothing matches."""
        compiled = Patterns([pattern for pattern, _ in self.patterns])
        first = [compiled.first(name) for name in layout.names]
        for i, (pattern, _) in enumerate(self.patterns):
            if i not in first and not any(Patterns([pattern]).matches(name) for name in layout.names):
                raise _no_match(pattern, layout)
        columns = [_column(value, layout) for _, value in self.patterns]
        result = np.empty(len(layout))
        for i, number in enumerate(first):
            if number is None and self.otherwise is None:
                raise RecipeError(
                    f"no pattern of the table matches the tensor `{layout.names[i]}`",
                    hint='add a last line for the rest: "*": 1',
                )
            result[i] = self.otherwise if number is None else columns[number][i]
        return result

    def __str__(self) -> str:
        rows = [f"'{pattern}': {value}" for pattern, value in self.patterns]
        return "{" + ", ".join(rows) + "}"


def _column(value: float | ByName, layout: Layout) -> Numbers:
    if isinstance(value, int | float):
        return np.full(len(layout), float(value))
    return value.values(layout)


def _no_match(pattern: str, layout: Layout) -> RecipeError:
    return RecipeError(f"the pattern `{pattern}` matches no tensor", hint=nearest(pattern.strip("*"), layout.names))


@dataclass(frozen=True)
class Match:
    """True for tensors whose name matches any of the patterns."""

    patterns: tuple[str, ...]
    is_mask = True

    def values(self, layout: Layout) -> Numbers:
        """RecipeError for a pattern that matches nothing."""
        for pattern in self.patterns:
            one = Patterns([pattern])
            if not any(one.matches(name) for name in layout.names):
                raise _no_match(pattern, layout)
        compiled = Patterns(self.patterns)
        return np.array([float(compiled.matches(name)) for name in layout.names])

    def __str__(self) -> str:
        return f"match({', '.join(map(repr, self.patterns))})"


@dataclass(frozen=True)
class Matrices:
    """True for tensors with two dimensions or more."""

    is_mask = True

    def values(self, layout: Layout) -> Numbers:
        """One truth value per entry."""
        return np.array([float(len(entry.shape) >= 2) for entry in layout])

    def __str__(self) -> str:
        return "matrices()"


def layer_number(entry: Entry, along: str | None = None) -> float:
    """The layer number of a tensor: the first number in its name, or the first group of `along`; NaN without one."""
    if along is None:
        found = _LAYER.search(entry.name)
        return float(found.group()) if found else np.nan
    found = re.search(along.removeprefix("re:"), entry.name)
    try:
        return float(found.group(1)) if found else np.nan
    except (IndexError, ValueError, TypeError):
        raise RecipeError(
            f"`along` does not yield a number for `{entry.name}`",
            hint="its first group must match digits: re:blocks\\.(\\d+)",
        ) from None


def _layer_numbers(layout: Layout, along: str | None) -> Numbers:
    numbers = np.array([layer_number(entry, along) for entry in layout])
    if np.isnan(numbers).all():
        raise RecipeError(
            "no tensor's name holds a layer number", hint='say where it stands: along="re:blocks\\.(\\d+)"'
        )
    return numbers


@dataclass(frozen=True)
class Layers:
    """True for tensors whose layer number lies in first..last, the last included."""

    first: int
    last: int
    along: str | None = None
    is_mask = True

    def values(self, layout: Layout) -> Numbers:
        """RecipeError when no tensor's name holds a layer number."""
        numbers = _layer_numbers(layout, self.along)
        return ((numbers >= self.first) & (numbers <= self.last)).astype(np.float64)

    def __str__(self) -> str:
        return f"layer({self.first}, {self.last})"


@dataclass(frozen=True)
class Ramp:
    """A number per tensor that runs through points as the layer number runs from the lowest to the highest.

    With points p0..pm and layer l of lmin..lmax: linear interpolation at x = m (l - lmin) / (lmax - lmin). Tensors
    without a layer number get `otherwise`, by default the mean of the first and last point.
    """

    points: tuple[float, ...]
    along: str | None = None
    otherwise: float | None = None
    is_mask = False

    def values(self, layout: Layout) -> Numbers:
        """RecipeError when no tensor's name holds a layer number."""
        numbers = _layer_numbers(layout, self.along)
        low, high = np.nanmin(numbers), np.nanmax(numbers)
        position = (numbers - low) / (high - low) if high > low else np.where(np.isnan(numbers), numbers, 0.0)
        result = np.interp(position * (len(self.points) - 1), np.arange(len(self.points)), self.points)
        rest = (self.points[0] + self.points[-1]) / 2 if self.otherwise is None else self.otherwise
        return np.where(np.isnan(numbers), rest, result)

    def __str__(self) -> str:
        return f"ramp({', '.join(f'{point:g}' for point in self.points)})"
