"""Results tables whose numbers are known, one of each kind."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from weightmath.lab.table import Head, Row, Table
from weightmath.recipe.metric import Goal

Point = tuple[Mapping[str, Any], Mapping[str, float]]

RECIPE = """\
# half of a and half of b
inputs: {a: a.ckpt, b: b.ckpt}
params:
  alpha: 0.5  # how much of b
  how: linear
vary:
  alpha: linspace(0, 1, 11)
  how: [linear, other]
metric:
  run: python evaluate.py {checkpoint}
  of: mean
let:
  both: (1 - alpha) * a + alpha * b
save:
  both.ckpt: both
"""


def table(
    what: str, points: Iterable[Point], goal: Mapping[str, Goal], about: Mapping[str, Any] | None = None
) -> Table:
    """A table of these points."""
    rows = tuple(Row(i, params, metrics, seconds=0.25) for i, (params, metrics) in enumerate(points))
    params, metrics = tuple(rows[0].params), tuple(rows[0].metrics)
    return Table(Head(what, params, metrics, goal, RECIPE, "0", about or {}), rows)


def sweep() -> Table:
    """Two shares and a loss along one number."""
    alphas = [i / 10 for i in range(11)]
    return table(
        "sweep",
        [({"alpha": a}, {"old": 1 - a * a / 2, "new": math.sqrt(a) / 2, "loss": 1 + (a - 0.6) ** 2}) for a in alphas],
        {"old": "max"},
    )


def split() -> Table:
    """One share along a number, for two words; its points are in no order."""
    points = [(k, r) for k in (1, 0.01, 0.1) for r in ("density", "none")]
    return table("sweep", [({"kept": k, "rescale": r}, {"share": k if r == "none" else 0.9}) for k, r in points], {})


def line() -> Table:
    """A hill between two models that are not equally good."""
    points = [({"t": t / 4}, {"loss": loss}) for t, loss in enumerate((0.1, 0.3, 0.9, 0.4, 0.3))]
    models = [{"name": "a", "path": "x/a.ckpt", "place": [0.0]}, {"name": "b", "path": "y/a.ckpt", "place": [1.0]}]
    return table("line", points, {"loss": "min"}, {"models": models, "axes": {"t": "t, from a.ckpt to b.ckpt"}})


PLACES = {"a": (0.0, 0.0), "b": (4.2, 0.0), "c": (1.9, 3.6)}


def bowl(x: float, y: float) -> float:
    """The loss of the plane."""
    return 0.05 + min((x - a) ** 2 + (y - b) ** 2 for a, b in PLACES.values())


def plane() -> Table:
    """Three models, then a grid that none but the first is on."""
    spots = [*PLACES.values(), *((x / 2, y / 2) for x in range(-2, 11) for y in range(-2, 9) if (x, y) != (0, 0))]
    models = [{"name": name, "path": f"x/{name}-1.ckpt", "place": list(place)} for name, place in PLACES.items()]
    points = [({"x": x, "y": y}, {"loss": bowl(x, y), "accuracy": 1 / (1 + bowl(x, y))}) for x, y in spots]
    axes = {"x": "distance from a.ckpt towards b.ckpt", "y": "distance towards c.ckpt"}
    return table("plane", points, {"loss": "min"}, {"models": models, "axes": axes})


def noise() -> Table:
    """Four draws at each of three scales."""
    draws = [(scale, seed) for scale in (0, 0.1, 0.2) for seed in range(4)]
    points = [({"scale": s, "seed": i}, {"accuracy": 0.9 - s * (1 + i / 10)}) for s, i in draws]
    return table("noise", points, {"accuracy": "max"}, {"models": [{"name": "a", "path": "a.ckpt", "place": []}]})


def search() -> Table:
    """Sixty random points of three parameters, two goals that are at odds; one evaluation gave no number."""
    chance = random.Random(0)
    points: list[Point] = []
    for number in range(60):
        alpha, density, method = chance.random(), 10 ** chance.uniform(-3, 0), chance.choice(["ties", "dare"])
        chat = math.nan if number == 7 else 0.9 - (alpha - 0.4) ** 2
        points.append(({"alpha": alpha, "density": density, "method": method}, {"chat": chat, "code": alpha}))
    return table("search", points, {"chat": "max", "code": "max"})


SOUP = {"b": 0.90, "c": 0.95, "a": 0.85}  # alone, in the order in which they are named


def soup() -> Table:
    """Three models; the best is averaged with the next, and not with the last."""
    alone = [({"stage": "alone", "model": f"{name}.ckpt", "size": 1}, {"score": it}) for name, it in SOUP.items()]
    tried = [
        ({"stage": "soup", "model": "b.ckpt", "size": 2}, {"score": 0.97}),
        ({"stage": "soup", "model": "a.ckpt", "size": 3}, {"score": 0.96}),
    ]
    made = table("soup", [*alone, *tried], {"score": "max"}, {"rule": "greedy"})
    about: list[dict[str, Any]] = [{"ingredients": [row.params["model"]]} for row in made.rows[:3]]
    about += [{"ingredients": ["c.ckpt", "b.ckpt"], "kept": True}]
    about += [{"ingredients": ["c.ckpt", "b.ckpt", "a.ckpt"], "kept": False}]
    rows = tuple(replace(row, about=more) for row, more in zip(made.rows, about, strict=True))
    return Table(replace(made.head, recipe=None), rows)


TABLES = {"sweep": sweep, "split": split, "line": line, "plane": plane, "noise": noise, "search": search, "soup": soup}
