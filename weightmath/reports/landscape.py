"""The record of a landscape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightmath.lab.landscape.barrier import Barrier, barriers
from weightmath.lab.landscape.robustness import Level, robustness
from weightmath.lab.sweep import Swept
from weightmath.lab.table import Row, paths


@dataclass(frozen=True)
class Spot:
    """One point: its parameters and what was measured there."""

    params: Mapping[str, Any]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class LandscapeReport:
    """What was found.

    what        "line", "plane", "around" or "noise"
    table, csv  the results table; `page` is its picture, None where plotly is not installed
    models      name in the recipe, path and place of each checkpoint
    axes        a label for each parameter
    goal        by metric "max" or "min"
    best        the best point by the first metric with a goal; None without one
    checkpoint  the file of the best point, where it is kept
    barriers    of a line: see `definition`
    curve       of noise: mean over seeds, and Student's t interval of that mean at 95%
    rows        all points
    """

    what: str
    table: str
    csv: str
    page: str | None
    models: Sequence[Mapping[str, Any]]
    axes: Mapping[str, str]
    goal: Mapping[str, str]
    best: Spot | None
    checkpoint: str | None
    barriers: Sequence[Barrier]
    curve: Sequence[Level]
    rows: Sequence[Spot]
    warnings: Sequence[str]


def landscape_report(found: Swept, stem: Path, page: Path | None, warnings: Sequence[str]) -> LandscapeReport:
    """The record of what was measured."""
    head, rows = found.table.head, found.table.rows
    best = found.table.best() if head.goal else None
    table, csv = paths(stem)
    return LandscapeReport(
        what=head.what,
        table=str(table),
        csv=str(csv),
        page=None if page is None else str(page),
        models=head.about["models"],
        axes=head.about["axes"],
        goal=head.goal,
        best=None if best is None else _spot(best),
        checkpoint=None if found.checkpoint is None else str(found.checkpoint),
        barriers=barriers(found.table) if head.what == "line" else (),
        curve=robustness(found.table) if head.what == "noise" else (),
        rows=tuple(map(_spot, rows)),
        warnings=warnings,
    )


def _spot(row: Row) -> Spot:
    return Spot(row.params, row.metrics)
