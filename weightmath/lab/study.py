"""A study: a recipe with open parameters, a metric, and the results table that its points go to.

Sweeps and searches are studies; they differ in where the next point comes from. The table is on the disk point by
point, and a study that was killed goes on with `resume`: points that are noted are not made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from weightmath.errors import OutputError, RecipeError, WeightmathError, counted, shell_word
from weightmath.job import Job, prepare
from weightmath.lab.appender import Appender, check_table
from weightmath.lab.metric import Metric, undecided
from weightmath.lab.points import Ground, Measured, Point, Work, ground_of, jobs_of, measured
from weightmath.lab.scratch import scratch
from weightmath.lab.table import Head, Row, Table, kept_beside, paths
from weightmath.recipe import Recipe, text_of
from weightmath.recipe.vary import Setting, filled, places_in
from weightmath.running import run

Keep = Literal["best", "all", "none"]


@dataclass(frozen=True)
class Study:
    """A study, prepared: everything that can be refused before any work has been.

    keep      which points' files are kept
    stem      where the table is: STEM.jsonl, STEM.csv; None: nowhere, it is only returned
    resume    go on with the table that is there
    force     files of points that are there are the study's own, of before it was stopped
    warnings  what `plan` warns of at one point
    """

    source: Recipe
    ground: Ground
    metric: Metric | None
    head: Head
    keep: Keep
    stem: Path | None
    resume: bool
    force: bool
    warnings: tuple[str, ...]

    def place(self, point: Point) -> tuple[str, Path]:
        """The name of a point's file, as in `save` with parameters in place of braces, and its path."""
        values = {**self.source.spec.params, **point.params}
        try:
            name = filled(self.ground.output, values)
        except RecipeError as error:
            error.where = self.source.where("save", self.ground.output)
            raise
        return name, self.source.resolve(name) if self.stem is None else kept_beside(self.stem, name)


def study_of(
    what: str,
    source: Recipe,
    metric: Metric | None,
    *,
    axes: tuple[str, ...],
    example: Mapping[str, Setting],
    identity: object,
    about: Mapping[str, Any],
    keep: Keep | None,
    stem: Path | None,
    resume: bool,
) -> Study:
    """Prepare a study.

    Parameters
        what        "sweep" or "search"
        axes        the parameters that vary
        example     one of its points, of which everything is checked now
        identity    what decides its points besides the recipe and its inputs
        about       what the table's head says besides
        keep        None: the best where there is a metric
    Fails as `run.prepare` and `check_table` do, and with RecipeError where neither a metric nor `show` is given.
    """
    if metric is None and not source.spec.show:
        hint = "metric: python eval.py {checkpoint}"
        raise RecipeError("nothing is measured: there is no metric", where=source.where("vary"), hint=hint)
    if metric is None and keep == "best":
        raise RecipeError("without a metric nothing says which point is best", hint="--keep all, or --keep none")
    ground = ground_of(source)
    kept: Keep = keep or ("best" if metric else "none")
    text = text_of(source.document.data) if source.changes else source.text
    about = {**about, "keep": kept}
    head = Head(what, axes, recipe=text, recipe_hash=_hash(source, ground, identity), about=about)
    there = None if stem is None else check_table(stem, head, resume=resume)
    force = there is not None and there.about.get("keep") == kept
    example_place = (ground.output, source.resolve(ground.output))
    (_, job), *_ = jobs_of(ground, [Point(0, example)], lambda point: example_place, provenance=kept != "none")
    if stem is not None and not resume and (kept == "all" or (metric is not None and metric.needs_file)):
        _check_room(paths(stem)[0], job)
    return Study(source, ground, metric, head, kept, stem, resume, force, job.warnings)


def _check_room(table: Path, job: Job) -> None:
    """OutputError where the disk is too small for the file of a point, which lies beside the table."""
    needed, free = sum(save.image.size for save in job.saves), shutil.disk_usage(table.parent).free
    if needed > free:
        fact = f"the file of a point takes {needed:,} bytes, and the disk has {free:,}"
        raise OutputError(fact, where=str(table), hint="make room, or -o STEM writes elsewhere")


def _hash(source: Recipe, ground: Ground, identity: object) -> str:
    """What is the same for studies whose points are."""
    stamps = {
        name: [[stamp.size, stamp.mtime_ns] for stamp in opened.checkpoint.stamps]
        for name, opened in ground.inputs.models.items()
    }
    spec = source.spec.model_dump(mode="json", by_alias=True)
    return hashlib.blake2b(json.dumps([spec, stamps, identity], default=str).encode(), digest_size=16).hexdigest()


def check_names(study: Study, points: Iterable[Point]) -> None:
    """Refuse names of kept files that two points share, that exist, or have no folder. RecipeError, OutputError."""
    if study.keep == "none":
        return
    names = Counter(study.place(point) for point in points)
    (name, _), often = names.most_common(1)[0]
    if study.keep == "all" and often > 1:
        raise _shared(study, f"`{name}` would be the file of {often} points")
    for _, path in names:
        if path.exists() and not study.force:
            raise OutputError("exists", where=str(path), hint="move it away, or --keep none")
    for folder in {path.parent for _, path in names}:
        if not folder.is_dir():
            raise OutputError("its folder does not exist", where=str(folder), hint=f"mkdir -p {shell_word(folder)}")


def check_axes(study: Study) -> None:
    """Refuse a name of kept files that not every axis has a place in: points to come may share it. RecipeError."""
    if study.keep == "all" and _missing(study):
        raise _shared(study, f"points may share the file `{study.ground.output}`")


def _missing(study: Study) -> list[str]:
    return [axis for axis in study.head.params if axis not in places_in(study.ground.output)]


def _shared(study: Study, fact: str) -> RecipeError:
    stem, dot, ending = study.ground.output.partition(".")
    line = f"{stem}{''.join(f'_{{{axis}}}' for axis in _missing(study))}{dot}{ending}"
    hint = f"save it as {line}" if _missing(study) else "six digits do not tell their values apart"
    return RecipeError(fact, where=study.source.where("save", study.ground.output), hint=hint)


@contextmanager
def opened(study: Study) -> Iterator[tuple[Appender, Path]]:
    """The study's table, and a folder for files that are not kept, while the work lasts.

    An error or interrupt on the way says what is kept. Programs of the metric end with it.
    """
    with ExitStack() as stack:
        if study.metric is not None:
            stack.enter_context(study.metric)
        if study.stem is None:
            folder = stack.enter_context(scratch(None))
            table = stack.enter_context(Appender(folder / "table", study.head, durable=False))
        else:
            table = stack.enter_context(Appender(study.stem, study.head, resume=study.resume))
            folder = stack.enter_context(scratch(paths(study.stem)[0]))
            stack.enter_context(telling(table, paths(study.stem)[0]))
        yield table, folder


@contextmanager
def telling(table: Appender, file: Path) -> Iterator[None]:
    """Add to an error or interrupt what is kept in a table's file, and how to go on."""
    try:
        yield
    except WeightmathError as error:
        error.hint = "; ".join([*filter(None, [error.hint]), *_kept(table, file)]) or None
        raise
    except KeyboardInterrupt as interrupt:
        interrupt.args = (*interrupt.args, *_kept(table, file))
        raise


def _kept(table: Appender, file: Path) -> list[str]:
    done = f"{counted(len(table), 'point')} {'is' if len(table) == 1 else 'are'} in {file}: --resume goes on from there"
    return [done] if len(table) else []


def note(
    study: Study,
    table: Appender,
    points: Iterable[Point],
    folder: Path,
    work: Work,
    about: Mapping[str, Any] | None = None,
) -> Iterator[Row]:
    """Make points, measure them and note each in the table; yields the rows as they are noted.

    about   what the rows say besides
    Fails as `measured` does, and with MetricError where a best point is wanted and several numbers could count.
    """
    keep = study.place if study.keep == "all" else None
    for one in measured(study.ground, points, study.metric, folder, work, keep=keep, force=study.force):
        if not len(table) and study.metric is not None:
            goals = study.metric.goals(one.metrics)
            if not goals and study.keep == "best":
                raise undecided(one.metrics, ", or `of:` in the recipe's metric; or --keep none")
            table.aim(goals)
        row = _row(one, paths(study.stem)[0].parent if study.stem else None, about or {})
        table.append(row)
        yield row


def _row(one: Measured, folder: Path | None, about: Mapping[str, Any]) -> Row:
    """What the table says of a point. Single numbers of `show` are columns as those of the metric are."""
    single = {text: float(value) for text, value in one.shown.items() if isinstance(value, int | float)}
    others = {text: value for text, value in one.shown.items() if text not in single}
    path = None if one.path is None or folder is None else os.path.relpath(one.path, folder)
    more = {**about, **({"show": others} if others else {})}
    return Row(one.point.index, one.point.params, {**one.metrics, **single}, round(one.seconds, 4), path, more)


def keep_best(study: Study, table: Table, work: Work) -> Path | None:
    """Make the best point's checkpoint; None where none is kept, or is best."""
    best = table.best() if study.keep == "best" else None
    if best is None:
        return None
    name, path = study.place(Point(best.index, best.params))
    job = prepare(study.ground.at(best.params, name, path))
    run(job, threads=work.threads, memory=work.memory, force=study.force)
    return path
