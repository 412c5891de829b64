"""Numbers and masks that run along the layers of a model.

The layer number of a tensor is the first number in its name, `model.layers.11.mlp.up_proj.weight` is of layer 11, or
what the first group of `along="re:..."` matches. A name that lost its dots, as LitEma stores it, does not tell:
`model_ema.diffusion_modelinput_blocks110in_layers0weight` is of layer 11. It has the number of the name that it copies,
where that is there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weightmath.algebra.names import TRUTH, Description, Numbers, parts
from weightmath.algebra.show import quoted, shown_number
from weightmath.errors import RecipeError
from weightmath.layout import Layout
from weightmath.regular import regular

_FIRST_NUMBER = r"(\d+)"
_EXAMPLE = 'along="re:blocks\\.(\\d+)"'


def check_along(along: str | None) -> None:
    """RecipeError unless it is a regular expression, written `re:...`, with a group for the layer number."""
    if along is None:
        return
    if not along.startswith("re:"):
        raise RecipeError(f"`along` must be a regular expression, not `{along}`", hint=f"for example: {_EXAMPLE}")
    if regular(along[3:]).groups == 0:
        raise RecipeError(f"`{along}` has no group", hint=f"put the number in parentheses: {_EXAMPLE}")


def layer_numbers(layout: Layout, along: str | None = None) -> Numbers:
    """The layer number of each entry, NaN without one; RecipeError if none has one, or a group holds no number."""
    pattern = re.compile(along.removeprefix("re:") if along else _FIRST_NUMBER)
    copied = {} if along else _copied(layout.names)
    numbers = np.array([_number(pattern.search(copied.get(name, name)), name) for name in layout.names])
    if np.isnan(numbers).all():
        where = f"`{along}` matches no tensor's name" if along else "no tensor's name holds a layer number"
        raise RecipeError(where, hint=f"say where it stands: {_EXAMPLE}")
    return numbers


def _copied(names: Sequence[str]) -> dict[str, str]:
    """Of each name that lost its dots the one that has them, with or without its first word."""
    dotless: dict[str, str] = {}
    for name in names:
        for spelling in (name, name.partition(".")[2]):
            if "." in spelling:
                dotless[spelling.replace(".", "")] = name
    rests = ((name, *name.partition(".")[::2]) for name in names)
    return {name: dotless[rest] for name, first, rest in rests if rest in dotless and not re.search(r"\d", first)}


def _number(found: re.Match[str] | None, name: str) -> float:
    text = found.group(1) if found else None
    if text is None:
        return np.nan
    try:
        return float(int(text))
    except ValueError:
        raise RecipeError(
            f"`along` finds '{text}' in `{name}`, and a layer has a number",
            hint=f"its group must match digits: {_EXAMPLE}",
        ) from None


def _note(layout: Layout, numbers: Numbers, along: str | None) -> str:
    """Which number counted as the layer, by an example that can be checked at a glance, and how far they run."""
    last = int(np.nanargmax(numbers))
    source = f"what `{along}` finds" if along else "the first number in the name"
    return (
        f"the layer is {source} (`{layout.names[last]}`: {numbers[last]:g}); "
        f"layers run from {np.nanmin(numbers):g} to {numbers[last]:g}"
    )


def _labels(numbers: Numbers) -> tuple[list[str], list[str]]:
    """The label of each entry, and all of them in order."""
    present = [f"layer {number:g}" for number in np.unique(numbers[~np.isnan(numbers)])]
    return ["no layer" if np.isnan(n) else f"layer {n:g}" for n in numbers], [*present, "no layer"]


@dataclass(frozen=True)
class Layers:
    """True for tensors whose layer number lies in first..last, the last included."""

    first: int
    last: int
    along: str | None = None
    is_mask = True
    numbers = TRUTH

    def values(self, layout: Layout) -> Numbers:
        """RecipeError when no layer lies in the range, or no tensor's name holds a layer number."""
        numbers = layer_numbers(layout, self.along)
        inside = (numbers >= self.first) & (numbers <= self.last)
        if not inside.any():
            raise RecipeError(
                f"{self} holds no tensor: layers run from {np.nanmin(numbers):g} to {np.nanmax(numbers):g}",
                hint="the last layer is included",
            )
        return inside.astype(np.float64)

    def describe(self, layout: Layout) -> Description:
        """One part per layer inside, and the others together."""
        values, numbers = self.values(layout), layer_numbers(layout, self.along)
        labels, order = _labels(numbers)
        labels = [
            label if inside or label == "no layer" else "other layers"
            for label, inside in zip(labels, values, strict=True)
        ]
        single = self.first == self.last
        span = f"layer {self.first}" if single else f"layers {self.first} to {self.last}, {self.last} included"
        note = f"{span}; {_note(layout, numbers, self.along)}"
        return Description(str(self), note, parts(layout, values, labels, [*order[:-1], "other layers", "no layer"]))

    def __str__(self) -> str:
        numbers = f"{self.first}" if self.first == self.last else f"{self.first}, {self.last}"
        return f"layer({numbers}{_shown_along(self.along)})"


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

    @property
    def numbers(self) -> tuple[float, ...]:
        """The points, and what tensors without a layer get."""
        return (*self.points, self.rest)

    @property
    def rest(self) -> float:
        """What tensors without a layer number get."""
        return (self.points[0] + self.points[-1]) / 2 if self.otherwise is None else self.otherwise

    def values(self, layout: Layout) -> Numbers:
        """RecipeError when no tensor's name holds a layer number."""
        numbers = layer_numbers(layout, self.along)
        low, high = np.nanmin(numbers), np.nanmax(numbers)
        position = (numbers - low) / (high - low) if high > low else np.where(np.isnan(numbers), numbers, 0.0)
        result = np.interp(position * (len(self.points) - 1), np.arange(len(self.points)), self.points)
        return np.where(np.isnan(numbers), self.rest, result)

    def describe(self, layout: Layout) -> Description:
        """One part per layer."""
        numbers = layer_numbers(layout, self.along)
        labels, order = _labels(numbers)
        note = _note(layout, numbers, self.along)
        without = int(np.isnan(numbers).sum())
        if without:
            which = "1 tensor without one gets" if without == 1 else f"{without} tensors without one get"
            note += f"; {which} {self.rest:g}"
        return Description(str(self), note, parts(layout, self.values(layout), labels, order), "ramp")

    def __str__(self) -> str:
        otherwise = "" if self.otherwise is None else f", otherwise={shown_number(self.otherwise)}"
        return f"ramp({', '.join(map(shown_number, self.points))}{_shown_along(self.along)}{otherwise})"


def _shown_along(along: str | None) -> str:
    return f", along={quoted(along)}" if along else ""
