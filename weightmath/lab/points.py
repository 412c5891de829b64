"""Many settings of one recipe, made together and measured: points are outputs of few jobs, which share their readings.

`ground_of` opens a recipe's inputs once. `measured` then takes points and a metric, makes up to 16 files, or 64 state
dicts, in one job, measures each, and yields what it found as points finish. A point is made as `run` would make it with
the same parameters, to the bit.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from weightmath import recipe
from weightmath.algebra.graph import Vector
from weightmath.errors import RecipeError
from weightmath.files.opening import Inputs, open_inputs, subject_for, vectors_of
from weightmath.files.subject import Subject
from weightmath.job import NO_AVERAGE, Job, callables, job_of
from weightmath.lab.memory import States, states_of
from weightmath.lab.metric import Metric
from weightmath.lab.recalibrate import State
from weightmath.pins import Pins
from weightmath.recipe import Built, Recipe
from weightmath.recipe.vary import Setting
from weightmath.running import run

_FILES, _STATES = 16, 64  # points of one job
_STATE_BYTES = 256 << 20  # that the states of one job take at most, unless one takes more

Place = Callable[["Point"], tuple[str, Path]]


@dataclass(frozen=True)
class Work:
    """How the work is done.

    jobs      evaluations at one time: programs, or calls of a function in threads of this process
    threads, memory   of the arithmetic, as `weightmath.running.run` takes them
    """

    jobs: int = 1
    threads: int | None = None
    memory: int | None = None


@dataclass(frozen=True)
class Point:
    """One setting of a recipe's parameters, and its number."""

    index: int
    params: Mapping[str, Setting]

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.params.items())


@dataclass(frozen=True)
class Measured:
    """What was found at a point.

    metrics   what the metric said; {} without one
    shown     values of the recipe's `show`
    seconds   that making it (its share of a job) and measuring it took
    path      its file, where files are kept
    """

    point: Point
    metrics: Mapping[str, float]
    shown: Mapping[str, Any]
    seconds: float
    path: Path | None = None


@dataclass(frozen=True)
class Ground:
    """What all points share: the recipe, and its inputs opened and compared."""

    recipe: Recipe
    inputs: Inputs
    subject: Subject
    vectors: Mapping[str, Vector]

    @property
    def output(self) -> str:
        """The output's name in the recipe."""
        return next(iter(self.recipe.spec.save))

    def at(self, params: Mapping[str, Setting], name: str, path: Path) -> Recipe:
        """The recipe with these parameters, whose output has this name and path. RecipeError for one that is none."""
        spec = self.recipe.spec
        unknown = [key for key in params if key not in spec.params]
        if unknown:
            raise RecipeError(f"`{unknown[0]}` is no parameter of the recipe", where=self.recipe.where("params"))
        changes = {"params": {**spec.params, **params}, "save": {name: spec.save[self.output]}}
        # A recipe's own paths are relative to its folder, and this one is not.
        written = f"{path.absolute()}{'/' * name.endswith('/')}"
        return replace(self.recipe, spec=spec.model_copy(update=changes), outputs={name: written})


def ground_of(source: Recipe) -> Ground:
    """Open what a recipe reads, once for all points.

    Fails as `weightmath.job.prepare` does, and with RecipeError for a recipe that saves several outputs.
    """
    if len(source.spec.save) > 1:
        names = " ".join(source.spec.save)
        raise RecipeError(f"a point is one output, and the recipe saves several: {names}", where=source.where("save"))
    single = replace(source, spec=source.spec.model_copy(update={"vary": None, "metric": None}))
    recipe.check(single, callables())
    inputs = open_inputs(single)
    subject = subject_for(inputs)
    return Ground(single, inputs, subject, vectors_of(inputs, subject))


def jobs_of(
    ground: Ground, points: Sequence[Point], place: Place, *, provenance: bool
) -> list[tuple[Sequence[Point], Job]]:
    """The jobs that make these points, nearly always one, and the points of each.

    place        the name and the path of each point's output
    provenance   whether outputs carry how they were made
    Buffers follow a formula that is an average and stay the template's else: points that differ in that are two jobs.
    """
    job = partial(_job, ground, place=place, provenance=provenance)
    whole = job(points)
    if len(points) == 1 or NO_AVERAGE not in whole.copied.values():
        return [(points, whole)]
    apart = [point for point in points if NO_AVERAGE in job([point]).copied.values()]
    groups = [[point for point in points if point not in apart], apart]
    return [(group, job(group)) for group in groups if group]


def _job(ground: Ground, points: Sequence[Point], place: Place, provenance: bool) -> Job:
    known, vectors = callables(), ground.inputs.grouped(ground.vectors)
    recipes: dict[str, Recipe] = {}
    paths: dict[str, str] = {}
    saves: dict[str, Vector] = {}
    show: list[Any] = []
    expect: list[Any] = []
    places: dict[Vector, str] = {}
    for point in points:
        name, path = place(point)
        own = ground.at(point.params, name, path)
        built = recipe.build(own, vectors, known)
        saves |= built.saves
        recipes[name] = own
        paths |= own.outputs
        show += built.show
        expect += [(f"{text} at {point}", value) for text, value in built.expect]
        places |= built.places
    changes: dict[str, Any] = {"save": {name: own.spec.save[name] for name, own in recipes.items()}}
    if not provenance:
        changes["provenance"] = "none"
    joint = replace(ground.recipe, spec=ground.recipe.spec.model_copy(update=changes), outputs=paths)
    built = Built({}, tuple(show), tuple(expect), saves, places, recipes)
    return job_of(replace(ground.inputs, recipe=joint), ground.subject, ground.vectors, built)


def measured(
    ground: Ground,
    points: Iterable[Point],
    metric: Metric | None,
    folder: Path,
    work: Work,
    *,
    keep: Place | None = None,
    force: bool = False,
) -> Iterator[Measured]:
    """Make points and measure them; yields each as it is done.

    Parameters
        metric   None where only the recipe's `show` is wanted
        folder   where files are written that are not kept: one of our own, which the caller removes
        keep     the name and path of each point's file, if files are kept; `force` replaces those that exist
    Fails as `run` does, and with MetricError; the points that were yielded are whole, and programs have ended.
    """
    files = keep is not None or (metric is not None and metric.needs_file)
    most = max(work.jobs, _most_files(ground, folder)) if files else _most_states(ground, metric)
    place = keep or partial(_temporary, ground, folder)
    ahead = iter(points)
    first = True
    while batch := list(islice(ahead, most)):
        for group, job in jobs_of(ground, batch, place, provenance=keep is not None):
            # What inputs must be is checked once, with the first points.
            checked = job if first else replace(job, pins=Pins({}, {}))
            made = _make(group, checked, metric, work, files=files, kept=keep is not None, force=force)
            yield from _evaluated(made, metric, work.jobs, kept=keep is not None)
            first = False


@dataclass(frozen=True)
class _Made:
    """A point that is made and not measured yet: a file, or a state dict, or both."""

    point: Point
    shown: Mapping[str, Any]
    seconds: float
    file: Path | None
    state: State | None


def _make(
    group: Sequence[Point], job: Job, metric: Metric | None, work: Work, *, files: bool, kept: bool, force: bool
) -> list[_Made]:
    """Do a job: as files where a program measures them or they are kept, in memory where a function does."""
    begun = time.monotonic()
    for_function = metric is not None and not metric.needs_file
    shown: Sequence[tuple[str, Any]] = ()
    states: States = {}
    if files:
        shown = run(job, threads=work.threads, memory=work.memory, force=force, durable=kept).answers.shown
    if for_function or not files:
        states, found = states_of(job, hold=for_function, threads=work.threads, memory=work.memory)
        shown = found.shown
    seconds, each = (time.monotonic() - begun) / len(group), len(shown) // len(group)
    return [
        _Made(
            point,
            dict(shown[i * each : (i + 1) * each]),
            seconds,
            save.target if files else None,
            states.get(save.name),
        )
        for i, (point, save) in enumerate(zip(group, job.saves, strict=True))
    ]


def _evaluated(made: Sequence[_Made], metric: Metric | None, jobs: int, *, kept: bool) -> Iterator[Measured]:
    """Measure points, so many at one time, and remove their files unless they are kept."""

    def measure(one: _Made) -> Measured:
        begun = time.monotonic()
        file = None if one.file is None else one.file.absolute()
        metrics = {} if metric is None else metric.evaluate(one.state, file)
        if file is not None and not kept:
            shutil.rmtree(file) if file.is_dir() else file.unlink()
        seconds = one.seconds + time.monotonic() - begun
        return Measured(one.point, metrics, one.shown, seconds, one.file if kept else None)

    if metric is None or jobs == 1:
        yield from map(measure, made)
        return
    with ThreadPoolExecutor(jobs) as pool:
        try:
            for future in as_completed([pool.submit(measure, one) for one in made]):
                yield future.result()
        except BaseException:
            # Nobody waits for programs whose answer is not wanted any more.
            pool.shutdown(wait=False, cancel_futures=True)
            metric.stop()
            raise


def _temporary(ground: Ground, folder: Path, point: Point) -> tuple[str, Path]:
    """The name and path of a file that is not kept: the point's number, and the ending that says the container."""
    ending = "/" if ground.output.endswith("/") else "." + Path(ground.output).name.partition(".")[2]
    name = f"{point.index}{ending}"
    return name, folder / name


def _most_files(ground: Ground, folder: Path) -> int:
    """How many files of a point the disk takes, at most half of what is free."""
    size = ground.inputs.template(ground.output).checkpoint.size
    return min(_FILES, max(1, shutil.disk_usage(folder).free // (2 * max(size, 1))))


def _most_states(ground: Ground, metric: Metric | None) -> int:
    """How many state dicts the memory takes; without a metric none are held."""
    if metric is None:
        return _FILES
    size = sum(entry.nbytes for entry in ground.subject.layout)
    return min(_STATES, max(1, _STATE_BYTES // max(size, 1)))
