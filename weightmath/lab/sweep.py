"""A sweep: every point that a recipe's `vary` means, made, measured, and noted in a results table as it is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightmath.engine.meter import Told, silent
from weightmath.errors import RecipeError, shell_word
from weightmath.lab.metric import Function, Metric, optional_metric
from weightmath.lab.points import Point, Work
from weightmath.lab.study import Keep, Study, check_names, keep_best, note, opened, study_of
from weightmath.lab.table import Table
from weightmath.lab.vary import settings_of
from weightmath.paths import expanded
from weightmath.recipe import Recipe, load, with_overrides
from weightmath.recipe.metric import Goal, MetricSpec
from weightmath.recipe.overrides import Changes, changes_of
from weightmath.several import several
from weightmath.sizes import parse_size


@dataclass(frozen=True)
class Sweep:
    """A sweep, prepared: the study and its points."""

    study: Study
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Swept:
    """What a sweep found.

    table       all its rows
    before      how many were there from an earlier one
    checkpoint  the file of the best point, where that is kept
    """

    table: Table
    before: int
    checkpoint: Path | None


def recipe_of(source: str | Path | Recipe, sets: Changes = (), inputs: Changes = ()) -> Recipe:
    """A recipe whose parameters vary, with what the command line changes of the others.

    Fails with RecipeError as `load` does, where nothing varies, and where a parameter that varies is set.
    """
    found = source if isinstance(source, Recipe) else load(source)
    vary = found.spec.vary
    if vary is None:
        hint = "vary:\n  alpha: linspace(0, 1, 11)"
        raise RecipeError("nothing varies in the recipe", where=str(found.path or "recipe"), hint=hint)
    changes = changes_of(sets)
    for change in changes:
        name = change.partition("=")[0]
        if name in vary.names:
            fact = f"`{name}` varies, and cannot be set"
            point = with_overrides(found, sets=changes).settings(vary.names)
            hint = f"weightmath run {shell_word(found.path or 'RECIPE')} {point} makes one point"
            raise RecipeError(fact, where=f"--set {change}", hint=hint)
    return with_overrides(found, sets=changes, inputs=changes_of(inputs))


def metric_of(
    source: Recipe,
    metric: str | Function | None = None,
    *,
    of: str | Sequence[str] = (),
    goal: Goal | None = None,
    allow_code: bool = False,
) -> Metric | None:
    """The metric that is given, else the recipe's; None without either.

    Commands that are given run in the current folder, those of the recipe in the recipe's. Fails as `optional_metric`.
    """
    spec: str | Function | MetricSpec | None = metric if metric is not None else source.spec.metric
    folder = source.path.parent if source.path is not None and metric is None else Path()
    return optional_metric(spec, allow_code=allow_code, folder=folder, of=several(of), goal=goal)


def prepare_sweep(
    source: Recipe,
    metric: Metric | None,
    *,
    keep: Keep | None = None,
    stem: Path | None = None,
    resume: bool = False,
    what: str = "sweep",
    about: Mapping[str, Any] | None = None,
) -> Sweep:
    """Everything of a sweep but the work; raises what is wrong with it.

    what, about   what the table's head says of it, where it is more than a sweep
    Fails as `study_of` and `check_names` do, and with RecipeError for points that cannot be told.
    """
    assert source.spec.vary is not None
    try:
        settings = list(settings_of(source.spec.vary))
    except RecipeError as error:
        error.where = source.where("vary")
        raise
    points = tuple(Point(index, setting) for index, setting in enumerate(settings))
    study = study_of(
        what,
        source,
        metric,
        axes=source.spec.vary.names,
        example=settings[-1],  # the first is often a model itself, of which nothing is to be warned
        identity=[metric and metric.identity, settings],
        about={"points": len(points), **({"metric": str(metric)} if metric else {}), **(about or {})},
        keep=keep,
        stem=stem,
        resume=resume,
    )
    check_names(study, points)
    return Sweep(study, points)


def run_sweep(sweep: Sweep, work: Work, progress: Told = silent) -> Swept:
    """Measure the points of a sweep that are not in its table yet. `progress` is told points done and in all.

    Fails as `weightmath.lab.points.measured` does; the points that were measured are in the table then.
    """
    with opened(sweep.study) as (table, folder):
        known = {row.index for row in table.table.rows}
        before = done = len(known)
        progress(done, len(sweep.points))
        left = (point for point in sweep.points if point.index not in known)
        for _ in note(sweep.study, table, left, folder, work):
            done += 1
            progress(done, len(sweep.points))
        return Swept(table.table, before, keep_best(sweep.study, table.table, work))


def sweep(
    recipe: str | Path | Recipe,
    *,
    metric: str | Function | None = None,
    of: str | Sequence[str] = (),
    goal: Goal | None = None,
    allow_code: bool = False,
    keep: Keep | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    jobs: int = 1,
    sets: Changes = (),
    inputs: Changes = (),
    threads: int | None = None,
    memory: int | str | None = None,
) -> Table:
    """Measure every point that a recipe's `vary` means, and return the results table.

    Parameters
        recipe   a recipe with `vary`: its file, or one that is loaded
        metric   a command with `{checkpoint}`, `module:function`, or a function of a state dict (name -> torch tensor)
                 that returns a number or a mapping of numbers; None: the recipe's own
        of       which of several numbers count, the first above all
        goal     "max" or "min"; None: as the recipe says, else "max"
        keep     whose checkpoints are kept, beside the table as STEM_NAME, or without a table as NAME, which is that
                 in `save`: "best", "all" or "none"; None: the best where there is a metric
        out      stem of the table's files, `out.jsonl` and `out.csv`; None: no files
        resume   go on with the table at `out`
        jobs     evaluations at one time: programs, or calls of a function in threads of this process
        sets     other values for parameters that do not vary, and `inputs` other paths, by name: {"strength": 0.5}
        threads, memory, allow_code   as for `weightmath sweep`
    Fails with RecipeError, MetricError, TableError, and as `weightmath run` does.

    Points that need a file are made up to 16 in one job, so that they share the readings of their inputs; points that a
    function measures are made in memory, up to 64 in one job.
    """
    source = recipe_of(recipe, sets, inputs)
    measure = metric_of(source, metric, of=of, goal=goal, allow_code=allow_code)
    stem = None if out is None else expanded(out)
    prepared = prepare_sweep(source, measure, keep=keep, stem=stem, resume=resume)
    return run_sweep(prepared, Work(jobs, threads, parse_size(memory))).table
