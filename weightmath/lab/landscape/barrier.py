"""The barrier between two models: how far a metric on the line falls short of what its ends promise."""

from __future__ import annotations

import math
from dataclasses import dataclass

from weightmath.lab.table import Table

DEFINITION = {
    "min": "max over t in 0..1 of {metric}(t) - ((1 - t) {metric}(0) + t {metric}(1))",
    "max": "max over t in 0..1 of ((1 - t) {metric}(0) + t {metric}(1)) - {metric}(t)",
}


@dataclass(frozen=True)
class Barrier:
    """The barrier of one metric on a line.

    height      0 or more, in the metric's own units; NaN where the metric is NaN somewhere
    at          the t where it is that high, the first of equals
    definition  the formula, with the sign that fits the metric's goal
    """

    metric: str
    height: float
    at: float
    definition: str


def barriers(table: Table) -> tuple[Barrier, ...]:
    """The barrier of each metric that has a goal, from the rows of a `line` table with t in 0..1.

    For a metric to minimise, the largest excess over the linear interpolation of the ends' values (Entezari et al.,
    arXiv 2110.06296); for one to maximise, the largest shortfall. Frankle et al. (arXiv 1912.05671) and Git Re-Basin
    (arXiv 2209.04836) compare with the mean of the ends instead, which is the same where both ends are equally good.
    Only the points of the table count: between them it may be higher. () unless both ends are among them.
    """
    rows = {float(row.params["t"]): row for row in table.rows if 0 <= float(row.params["t"]) <= 1}
    if not {0.0, 1.0} <= rows.keys():
        return ()
    found = []
    for metric, goal in table.head.goal.items():
        sign = 1 if goal == "min" else -1
        first, last = (rows[end].metrics[metric] for end in (0.0, 1.0))
        # 0.0 + : no barrier is 0, not -0.
        heights = [0.0 + sign * (rows[t].metrics[metric] - ((1 - t) * first + t * last)) for t in sorted(rows)]
        height, at = max(zip(heights, sorted(rows), strict=True), key=_height)
        found.append(Barrier(metric, height, at, DEFINITION[goal].format(metric=metric)))
    return tuple(found)


def _height(pair: tuple[float, float]) -> tuple[bool, float]:
    """What barriers are compared by: NaN is above all."""
    return math.isnan(pair[0]), pair[0]
