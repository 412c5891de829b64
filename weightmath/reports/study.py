"""What a sweep or a search found."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from weightmath.lab.study import Study
from weightmath.lab.sweep import Swept
from weightmath.lab.table import Row, paths


@dataclass(frozen=True)
class StudyReport:
    """What a sweep or a search found.

    what        "sweep" or "search"
    table       its results table, one JSON object a line; `csv` has the same
    params      the parameters that vary
    metrics     what was measured
    goal        of the metrics that count, whether more is better ("max") or less ("min")
    before      how many points were there from an earlier one
    best        the point that is best by the first metric that counts; None where none does
    front       with several that count, the points that no other is better than in all of them
    checkpoint  the best point's file, where it is kept
    rows        all points
    warnings    what makes its numbers doubtful
    """

    what: str
    table: str
    csv: str
    params: tuple[str, ...]
    metrics: tuple[str, ...]
    goal: Mapping[str, str]
    before: int
    best: Row | None
    front: tuple[Row, ...]
    checkpoint: str | None
    rows: tuple[Row, ...]
    warnings: tuple[str, ...]


def study_report(study: Study, found: Swept) -> StudyReport:
    """The record of a study whose table is on the disk."""
    assert study.stem is not None
    table, (lines, copy) = found.table, paths(study.stem)
    return StudyReport(
        what=table.head.what,
        table=str(lines),
        csv=str(copy),
        params=table.head.params,
        metrics=table.head.metrics,
        goal=dict(table.head.goal),
        before=found.before,
        best=table.best() if table.head.goal else None,
        front=table.pareto() if len(table.head.goal) > 1 else (),
        checkpoint=None if found.checkpoint is None else os.path.relpath(found.checkpoint),
        rows=table.rows,
        warnings=study.warnings,
    )
