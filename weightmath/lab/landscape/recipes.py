"""The recipes of landscapes: what is looked at is a formula with parameters, which anyone can read, run and sweep.

Tensors that no one trains (BatchNorm's running statistics above all) go no straight ways: a negative variance is a
model that yields NaN. Between models they are averaged with weights that are limited to 0 and above, so that each
model has its own; around one model they stay that model's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from weightmath.algebra.show import quoted, shown_number
from weightmath.files.buffers import BUFFERS
from weightmath.lab.landscape.coordinates import Axes
from weightmath.layout import Patterns
from weightmath.recipe.document import single_quoted

POINT = "point"


@dataclass(frozen=True)
class Formula:
    """A point of a landscape as `let` entries over inputs and parameters; the last entry is the point.

    buffers   what becomes of tensors that no one trains: `merge`, by the formula, or `template`, the first input's
    """

    title: str
    params: tuple[str, ...]
    let: Mapping[str, str]
    buffers: str = "template"


def line(buffers: Sequence[str]) -> Formula:
    """a at t = 0, b at t = 1, each exactly."""
    let = _with_buffers({}, "(1 - t) * a + t * b", "lerp(a, b, clamp(t, 0, 1))", buffers)
    return Formula("The line through two models: t = 0 is a, t = 1 is b.", ("t",), let, "merge")


def plane(axes: Axes, buffers: Sequence[str]) -> Formula:
    """a at (0, 0), b on the x axis, c above it."""
    (length, _), (beside, above) = axes.places
    let = {
        "u": f"(b - a) / {shown_number(length)}",
        "v": f"(c - a - {_number(beside)} * u) / {shown_number(above)}",
    }
    weights = {
        "c_share": f"y / {shown_number(above)}",
        "b_share": f"(x - {_number(beside)} * c_share) / {shown_number(length)}",
        "a_share": "1 - b_share - c_share",
    }
    shares = ", ".join(f"maximum({name}_share, 0)" for name in "abc")
    let |= _with_buffers(weights, "a + x * u + y * v", f"weighted_mean([a, b, c], [{shares}])", buffers)
    title = (
        "The plane through three models, in units of length in weight space: a at (0, 0), b on the x axis, c above it."
    )
    return Formula(title, ("x", "y"), let, "merge")


def random(directions: int, seed: int) -> Formula:
    """Around a, in random directions whose filters are as long as those of a."""
    names = "xy"[:directions]
    let = {f"to_{name}": f"filter_normalized(gaussian(seed={seed}, label={quoted(name)}), a)" for name in names}
    title = "Around a model in random directions; one unit changes each filter by as much as its own length."
    return Formula(title, tuple(names), {**let, POINT: _moved(names)})


def along(deltas: Mapping[str, str]) -> Formula:
    """Around a, along one or two vectors, each in its own units; by axis what leads along it."""
    let = {f"to_{name}": text for name, text in deltas.items()}
    return Formula(
        "Around a model along given deltas; one unit is the whole delta.", tuple(deltas), {**let, POINT: _moved(deltas)}
    )


def trajectory(axes: Axes, runs: Sequence[str]) -> Formula:
    """Around a, along the principal directions of a path of checkpoints that ends there."""
    names = "xy"[: len(axes.shares)]
    let = {
        f"to_{name}": " + ".join(f"{_number(share)} * ({run} - a)" for share, run in zip(shares, runs, strict=True))
        for name, shares in zip(names, axes.shares, strict=True)
    }
    title = (
        "Around the end of a path of checkpoints along its principal directions, in units of length in weight space."
    )
    return Formula(title, tuple(names), {**let, POINT: _moved(names)})


def noise() -> Formula:
    """a with noise, in units of each tensor's own standard deviation."""
    let = {POINT: 'a + scale * std(a, scope="tensor") * gaussian(seed=seed)'}
    return Formula("A model with noise of so many standard deviations of each tensor.", ("scale", "seed"), let)


def _moved(names: Sequence[str] | Mapping[str, str]) -> str:
    return " + ".join(("a", *(f"{name} * to_{name}" for name in names)))


def _with_buffers(weights: Mapping[str, str], straight: str, averaged: str, buffers: Sequence[str]) -> dict[str, str]:
    """The point on a straight way, but for buffers, if there are any, which are averaged."""
    if not buffers:
        return {POINT: straight}
    patterns = ", ".join(quoted(pattern) for pattern in BUFFERS if any(map(Patterns([pattern]).matches, buffers)))
    return {**weights, POINT: f"overlay({straight}, only({averaged}, {patterns}))"}


def _number(value: float) -> str:
    """A number that may stand after a sign."""
    text = shown_number(value)
    return f"({text})" if text.startswith("-") else text


def text_of(formula: Formula, inputs: Mapping[str, Path], points: Sequence[Mapping[str, float]], save: str) -> str:
    """The recipe: its title as a comment, inputs, parameters at 0, one output, and the points that are swept."""
    lines = [f"# {formula.title}", "inputs:"]
    lines += [f"  {name}: {single_quoted(str(path))}" for name, path in inputs.items()]
    lines += ["params:", *(f"  {name}: 0" for name in formula.params)]
    lines += ["let:", *(f"  {name}: {text}" for name, text in formula.let.items())]
    lines += [f"buffers: {formula.buffers}", "save:", f"  {single_quoted(save)}: {POINT}"]
    lines += ["vary:", "  zip:"]
    lines += [f"    {name}: [{', '.join(repr(point[name]) for point in points)}]" for name in formula.params]
    return "\n".join(lines) + "\n"
