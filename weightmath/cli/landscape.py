"""`weightmath landscape`: what lies between models and around one, measured by an evaluation of the user's own."""

from __future__ import annotations

import glob
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from weightmath.cli import landscape_options as its
from weightmath.cli import options
from weightmath.cli.answer import answer
from weightmath.cli.failures import FAILED, REFUSED, failing
from weightmath.cli.sharing import sharing
from weightmath.engine.meter import Told

if TYPE_CHECKING:
    from weightmath.lab.landscape.views import View


def _example(arguments: str) -> str:
    """The end of a help text: one line that does not wrap."""
    return f"\b\nExample:\n  weightmath landscape {arguments}"


landscape = typer.Typer(
    name="landscape",
    help="What lies between models and around one: lines, planes, neighbourhoods, noise, by a metric of your own.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@dataclass(frozen=True)
class Asked:
    """What all commands take: the metric, where results go, and how the work is done."""

    metric: its.Metric
    stem: its.Stem
    of: options.Of = None
    goal: options.Goal = None
    recalibrate: its.Recalibrate = None
    allow_code: options.AllowCode = False
    keep: its.Keep = "none"
    resume: options.Resume = False
    jobs: options.Jobs = 1
    threads: options.Threads = None
    memory: options.Memory = None
    json: options.Json = False


@landscape.command(epilog=_example("line a.ckpt b.ckpt --metric 'python eval.py {checkpoint}' --goal min -o line"))
@sharing
def line(a: its.A, b: its.B, asked: Asked, grid: its.Grid = 11, margin: its.Margin = 0.0) -> None:
    """Measure the line (1 - t) A + t B, t from 0 to 1, and its barrier.

    The barrier is the largest excess of a metric to minimise over the straight line between its values at both ends;
    of one to maximise (the default), the largest shortfall.
    """
    _explore(asked, lambda views, told: views.line(a, b, points=grid, margin=margin))


@landscape.command(epilog=_example("plane a.ckpt b.ckpt c.ckpt --metric 'python eval.py {checkpoint}' -o plane"))
@sharing
def plane(a: its.A, b: its.B, c: its.C, asked: Asked, grid: its.Grid = 11, margin: its.Margin = 0.2) -> None:
    """Measure the plane through three models, in units of length in weight space, and the models themselves.

    A lies at (0, 0), B on the x axis, C above it.
    """
    _explore(asked, lambda views, told: views.plane(a, b, c, points=grid, margin=margin, progress=told))


@landscape.command(epilog=_example("around a.ckpt --seed 1 --metric 'python eval.py {checkpoint}' -o around"))
@sharing
def around(
    a: its.A,
    asked: Asked,
    directions: its.Directions = None,
    seed: its.Seed = None,
    along: its.Along = None,
    trajectory: its.Trajectory = None,
    reach: its.Reach = None,
    margin: its.PathMargin = None,
    grid: its.Grid = 11,
) -> None:
    """Measure the neighbourhood of a model, in one or two directions.

    Random directions are filter-normalised: one unit changes each filter by as much as its own length. A direction
    along a delta has the delta as its unit; along the path of --trajectory units are lengths in weight space, and the
    grid covers the path.
    """
    given = {"directions": directions, "seed": seed, "reach": reach, "margin": margin}

    def view(views: Any, told: Told) -> Any:
        own = {"points": grid, **_chosen(along, trajectory, given)}
        if along:
            return views.along(a, along, **own)
        if trajectory:
            return views.trajectory(a, _path(trajectory, a), progress=told, **own)
        return views.around(a, **own)

    _explore(asked, view)


# What says something of the directions, by what chooses them.
_TAKES = {
    "--along": ("reach",),
    "--trajectory": ("directions", "margin"),
    "random directions": ("directions", "seed", "reach"),
}


def _chosen(along: list[str] | None, trajectory: list[str] | None, given: dict[str, Any]) -> dict[str, Any]:
    """The options that are given. RecipeError for those that say nothing of the directions."""
    from weightmath.errors import RecipeError

    if along and trajectory:
        raise RecipeError("--along and --trajectory are two ways to choose directions", hint="keep one")
    way = "--along" if along else "--trajectory" if trajectory else "random directions"
    said = {name: value for name, value in given.items() if value is not None}
    idle = [name for name in said if name not in _TAKES[way]]
    if idle:
        takes = " ".join(f"--{name}" for name in _TAKES[way])
        raise RecipeError(f"--{idle[0]} says nothing of {way}", hint=f"what does: {takes}")
    return said


@landscape.command(epilog=_example("noise a.ckpt --scales 0.01,0.1 --metric evaluation:loss --allow-code -o noise"))
@sharing
def noise(a: its.A, asked: Asked, scales: its.Scales, seeds: its.Seeds = 5) -> None:
    """Measure how a model bears noise: the metric's mean over seeds at each scale, with its 95% interval.

    Noise is gaussian, of so many standard deviations of each tensor. The interval is Student's t.
    """
    _explore(asked, lambda views, told: views.noise(a, _numbers(scales), seeds))


def _path(given: list[str], end: Path) -> list[Path]:
    """The checkpoints of a path; a pattern stands for those that it finds, in the order of numbers, but for the end."""
    from weightmath.files.choice import choose

    found: list[Path] = []
    for each in given:
        if glob.has_magic(each) and not Path(each).exists():
            found += [path for path in choose(each, Path()).files if path.resolve() != end.resolve()]
        else:
            found.append(Path(each))
    return found


def _numbers(text: str) -> list[float]:
    from weightmath.errors import RecipeError

    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise RecipeError(f"`{text}` is no list of numbers", where="--scales", hint="0.01,0.03,0.1") from None


def _explore(asked: Asked, make: Callable[[Any, Told], View]) -> None:
    """Measure a view and print what was found.

    make   gets the module that makes views, which is imported by now, and what is told bytes done and in all
    """
    with failing(REFUSED, as_json=asked.json):
        from weightmath.cli.landscape_page import draw, picture_file, show
        from weightmath.cli.progress import progress_bar
        from weightmath.lab.landscape import views
        from weightmath.lab.landscape.explore import prepare_view, warnings_of
        from weightmath.lab.metric import parse_metric
        from weightmath.lab.points import Work
        from weightmath.lab.sweep import run_sweep
        from weightmath.sizes import parse_size

        metric = parse_metric(
            asked.metric,
            allow_code=asked.allow_code,
            of=tuple(asked.of or ()),
            goal=asked.goal,
            recalibrate=asked.recalibrate,
        )
        work = Work(asked.jobs, asked.threads, parse_size(asked.memory))
        page = picture_file(asked.stem, resume=asked.resume)
        with progress_bar("measuring distances", wanted=not asked.json) as progress:
            view = make(views, progress)
        sweep = prepare_view(view, metric, keep=asked.keep, stem=asked.stem, resume=asked.resume)
    with failing(FAILED, as_json=asked.json):
        with progress_bar("measuring points", wanted=not asked.json, points=True) as progress:
            found = run_sweep(sweep, work, progress)
        from weightmath.reports.landscape import landscape_report

        draw(asked.stem, page)
        report = landscape_report(found, asked.stem, page, warnings_of(view, sweep))
        answer(report, show, as_json=asked.json)
