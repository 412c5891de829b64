"""A metric over two axes as plain arrays, for whoever draws it."""

from __future__ import annotations

import numpy as np

from weightmath.errors import TableError
from weightmath.lab.table import Table


def surface(table: Table, metric: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The grid of a landscape of two axes: x (n,), y (m,), and the metric (m, n), as matplotlib and plotly take them.

    Models that lie between the points of the grid are left out: `table.rows` has them. Points that are not measured yet
    are NaN. Fails with TableError where the table has not two axes, or no such metric.
    """
    if len(table.head.params) != 2:
        raise TableError(f"the table has {len(table.head.params)} axes, and a surface two")
    first, second = table.head.params
    marked = {tuple(model["place"]) for model in table.head.about.get("models", ())}
    places = list(zip(table.column(first), table.column(second), strict=True))
    values = dict(zip(places, table.column(metric), strict=True))
    on_grid = [place for place in places if table.head.what != "plane" or place not in marked]
    xs, ys = (sorted({place[axis] for place in on_grid}) for axis in (0, 1))
    return np.array(xs), np.array(ys), np.array([[values.get((x, y), np.nan) for x in xs] for y in ys])
