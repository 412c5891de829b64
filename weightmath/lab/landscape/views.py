"""What can be looked at: a line, a plane, a neighbourhood, noise; each a formula, its points, and where models lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from weightmath import functions as f
from weightmath.engine.meter import Told, silent
from weightmath.errors import RecipeError
from weightmath.files.buffers import is_batch_statistic
from weightmath.lab.landscape import recipes
from weightmath.lab.landscape.coordinates import Place, axis, path_of, plane_of
from weightmath.lab.landscape.models import Models, measure, open_models
from weightmath.lab.landscape.recipes import Formula
from weightmath.paths import expanded

Params = Mapping[str, float]


@dataclass(frozen=True)
class View:
    """A landscape before anything in it is measured.

    what      "line", "plane", "around" or "noise"
    paths     checkpoints by their names in the recipe; the first is the origin and the template
    points    the parameters of each, in order; the models' own places are among those of lines and planes
    about     what a table's head says of it: `models` with name, path and place; `axes` with a label for each
              parameter; `spread`, the share of variance of each principal direction
    warnings  what makes its numbers doubtful
    """

    what: str
    paths: Mapping[str, Path]
    formula: Formula
    points: tuple[Params, ...]
    about: Mapping[str, Any]
    warnings: tuple[str, ...]

    def recipe(self, save: str) -> str:
        """The recipe of its points, as text."""
        return recipes.text_of(self.formula, self.paths, self.points, save)


def line(a: str | Path, b: str | Path, *, points: int = 11, margin: float = 0.0) -> View:
    """The line through two checkpoints, (1 - t) a + t b: `points` values of t from 0 to 1, and the ends in any case.

    margin   how far it goes on beyond each end, in units of their distance
    Fails    with LayoutError where they have not the same tensors
    """
    a, b = expanded(a), expanded(b)
    paths = {"a": a, "b": b}
    models = open_models(paths)
    ts = sorted({0.0, 1.0, *axis([0, 1], points, margin)})
    places = {"a": (0.0,), "b": (1.0,)}
    about = {"models": _marked(paths, places), "axes": {"t": f"t, from {a.name} to {b.name}"}}
    return View("line", paths, recipes.line(models.buffers), _points("t", [(t,) for t in ts]), about, _stale(models))


def plane(
    a: str | Path, b: str | Path, c: str | Path, *, points: int = 11, margin: float = 0.2, progress: Told = silent
) -> View:
    """The plane through three checkpoints, in units of length in weight space: the models, then points x points others.

    a lies at (0, 0), b on the x axis, c above it (Garipov et al., arXiv 1802.10026, whose figures leave the same
    margin). Distances are of all tensors but buffers; one pass over the three measures them.

    margin   how far the grid goes beyond the models, as a share of their extent
    Fails    with LayoutError where they have not the same tensors, RecipeError where two are equal or all on one line
    """
    a, b, c = expanded(a), expanded(b), expanded(c)
    paths = {"a": a, "b": b, "c": c}
    models = open_models(paths)
    axes = plane_of(_gram(models, progress))
    places: dict[str, Place] = {"a": (0.0, 0.0), "b": axes.places[0], "c": axes.places[1]}
    grid = _grid(list(places.values()), points, margin)
    about = {
        "models": _marked(paths, places),
        "axes": {"x": f"distance from {a.name} towards {b.name}", "y": f"distance towards {c.name}"},
    }
    spots = [*places.values(), *(spot for spot in grid if spot not in places.values())]
    return View("plane", paths, recipes.plane(axes, models.buffers), _points("xy", spots), about, _stale(models))


def around(a: str | Path, *, directions: int = 2, seed: int = 0, points: int = 11, reach: float = 1.0) -> View:
    """Around a checkpoint in one or two random directions, filter-normalised (Li et al., arXiv 1712.09913).

    reach   how far to each side, in units of each filter's own length; biases, norms and buffers stay
    """
    _check_reach(reach)
    paths = {"a": expanded(a)}
    models = open_models(paths)
    names = "xy"[:directions]
    about = {
        "models": _marked(paths, {"a": (0.0,) * directions}),
        "axes": {name: f"random direction {i + 1}, in filter lengths" for i, name in enumerate(names)},
    }
    spots = _grid([(-reach,) * directions, (reach,) * directions], points, 0.0)
    return View("around", paths, recipes.random(directions, seed), _points(names, spots), about, _stale(models))


def along(a: str | Path, others: Sequence[str | Path], *, points: int = 11, reach: float = 1.0) -> View:
    """Around a checkpoint along one or two others: of a delta file its delta, of a model what leads to it.

    reach   how far to each side, in units of the whole delta
    Fails   with RecipeError for more than two
    """
    if len(others) not in (1, 2):
        raise RecipeError(f"a picture has one axis or two, and {len(others)} directions are given")
    _check_reach(reach)
    names = "xy"[: len(others)]
    ends = {f"d{name}": expanded(path) for name, path in zip(names, others, strict=True)}
    paths = {"a": expanded(a), **ends}
    models = open_models(paths)
    given = models.inputs.models
    leads = {name: f"d{name}" if given[f"d{name}"].is_delta_input else f"d{name} - a" for name in names}
    units: tuple[Place, ...] = ((1.0,),) if len(names) == 1 else ((1.0, 0.0), (0.0, 1.0))
    about = {
        "models": _marked(paths, {"a": (0.0,) * len(names), **dict(zip(ends, units, strict=True))}),
        "axes": {name: f"share of {path.name}" for name, path in zip(names, ends.values(), strict=True)},
    }
    spots = _grid([(-reach,) * len(names), (reach,) * len(names)], points, 0.0)
    return View("around", paths, recipes.along(leads), _points(names, spots), about, _stale(models))


def trajectory(
    a: str | Path, runs: Sequence[str | Path], *, directions: int = 2, points: int = 11, margin: float = 0.2,
    progress: Told = silent,
) -> View:  # fmt: skip
    """Around the checkpoint at the end of a path of others, along the path's principal directions.

    They are of all tensors but buffers, the end among them; the path is projected on them, so that a point of it shows
    what is there and not the checkpoint itself. One pass over all measures them.

    margin   how far the grid goes beyond the path, as a share of its extent
    Fails    with RecipeError where the path spreads in fewer directions
    """
    paths = {"a": expanded(a), **{f"r{i}": expanded(path) for i, path in enumerate(runs)}}
    models = open_models(paths)
    axes = path_of(_gram(models, progress), directions)
    names = "xy"[:directions]
    origin = (0.0,) * directions
    labels = [f"principal direction {i + 1} ({share:.1%} of the variance)" for i, share in enumerate(axes.spread)]
    about = {
        "models": _marked(paths, {**dict(zip(list(paths)[1:], axes.places, strict=True)), "a": origin}),
        "axes": dict(zip(names, labels, strict=True)),
        "spread": list(axes.spread),
    }
    spots = _grid([*axes.places, origin], points, margin)
    formula = recipes.trajectory(axes, list(paths)[1:])
    return View("around", paths, formula, _points(names, spots), about, _stale(models))


def noise(a: str | Path, scales: Sequence[float], seeds: int = 5) -> View:
    """A checkpoint without noise, and with gaussian noise of so many standard deviations of each tensor.

    scales   how many; each is drawn with the seeds 0, 1, 2, ...; buffers stay

    Fails    with RecipeError for a scale that is negative, or no scale above 0
    """
    levels = sorted(set(scales) - {0.0})
    if not levels or levels[0] < 0:
        raise RecipeError("scales of noise are numbers above 0", where="--scales", hint="for example: 0.01,0.03,0.1")
    paths = {"a": expanded(a)}
    models = open_models(paths)
    about = {"models": _marked(paths, {}), "axes": {"scale": "noise, in standard deviations of each tensor"}}
    spots = [(0.0, 0), *product(levels, range(seeds))]
    return View("noise", paths, recipes.noise(), _points(("scale", "seed"), spots), about, _stale(models))


def _gram(models: Models, progress: Told) -> Any:
    """The inner products of the steps from the first model to the others."""
    a, *others = models.vectors.values()
    return measure(models, [f.gram([other - a for other in others])], progress)[0]


def _check_reach(reach: float) -> None:
    if not reach > 0:
        raise RecipeError(f"a neighbourhood reaches to each side, and not {reach:g}", where="--reach")


def _grid(places: Sequence[Place], points: int, margin: float) -> list[Place]:
    """All points of a grid that covers the places, the last coordinate slowest."""
    columns = [axis(column, points, margin) for column in zip(*places, strict=True)]
    return [spot[::-1] for spot in product(*columns[::-1])]


def _points(names: Sequence[str], spots: Sequence[Place]) -> tuple[Params, ...]:
    return tuple(dict(zip(names, spot, strict=True)) for spot in spots)


def _marked(paths: Mapping[str, Path], places: Mapping[str, Place]) -> list[dict[str, Any]]:
    """What a picture marks: models by their file names, at their places."""
    return [{"name": name, "path": paths[name].name, "place": list(place)} for name, place in places.items()]


def _stale(models: Models) -> tuple[str, ...]:
    stale = [name for name in models.buffers if is_batch_statistic(name)]
    if not stale:
        return ()
    return (
        f"BatchNorm's running statistics ({len(stale)} of the tensors) are not those of the points that are measured: "
        "recompute them with --recalibrate module:function",
    )
