"""A table of the page, whose columns sort."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from weightmath.lab.table import Table

Cell = str | float | None
NOTHING = "–"
_DIGITS = 5  # of the largest number of a column
_LEAST, _MOST = 1e-4, 1e6  # beyond which numbers are written with a power of ten


@dataclass(frozen=True)
class Sheet:
    """Rows under a head.

    title    what they are
    columns  names
    rows     cells: texts, numbers, or None where there is nothing
    points   for each row the number of the point that it is, or () where rows are no points
    best     numbers of the points that are marked
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    points: tuple[int, ...] = ()
    best: frozenset[int] = frozenset()

    def texts(self, column: int) -> list[str]:
        """The cells of a column as they are shown: its numbers all with as many decimals, whole ones with none."""
        cells = [row[column] for row in self.rows]
        numbers = [cell for cell in cells if isinstance(cell, int | float) and math.isfinite(cell)]
        whole = all(isinstance(number, int) for number in numbers)
        decimals = 0 if whole else _decimals([abs(number) for number in numbers if number])
        return [_shown(cell, decimals) for cell in cells]


def _decimals(sizes: Sequence[float]) -> int | None:
    """How many decimals a column needs for five digits of its largest number; None for powers of ten."""
    if not sizes or min(sizes) < _LEAST or max(sizes) >= _MOST:
        return None
    most = max(0, _DIGITS - 1 - max(0, math.floor(math.log10(max(sizes)))))
    return max(len(f"{size:.{most}f}".rstrip("0").partition(".")[2]) for size in sizes)


def _shown(cell: Cell, decimals: int | None) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return NOTHING
    if isinstance(cell, str):
        return cell
    return f"{cell:.5g}" if decimals is None else f"{cell:,.{decimals}f}"


def of_table(table: Table) -> Sheet:
    """All points of a results table: parameters, metrics, seconds and, where one was kept, the checkpoint.

    The best by the goal is marked, or of several goals the whole Pareto front; of noise, which is no choice, nothing.
    """
    head, rows = table.head, table.rows
    kept = any(row.checkpoint for row in rows)
    columns = ("point", *head.params, *head.metrics, "seconds", *(["checkpoint"] if kept else []))
    cells = tuple(
        (
            row.index,
            *(_cell(row.params[name]) for name in head.params),
            *(row.metrics[name] for name in head.metrics),
            row.seconds,
            *([row.checkpoint] if kept else []),
        )
        for row in rows
    )
    title = "Points" if len(head.goal) < 2 else "Points, with the Pareto front marked"
    return Sheet(title, columns, cells, tuple(row.index for row in rows), _best(table))


def _cell(value: Any) -> Cell:
    return str(value).lower() if isinstance(value, bool) else value if isinstance(value, int | float) else str(value)


def _best(table: Table) -> frozenset[int]:
    if table.head.what == "noise":
        return frozenset()
    if len(table.head.goal) > 1:
        return frozenset(row.index for row in table.pareto())
    best = table.best() if table.rows else None
    return frozenset() if best is None else frozenset([best.index])


def of_parts(title: str, models: Sequence[str], parts: Sequence[Any]) -> Sheet:
    """Layers or tensors of a comparison: elements, each model's norm and relative change, agreement."""
    changes = [f"change {model}" for model in models]
    columns = ("name", "elements", *(f"norm {model}" for model in models), *changes, "lowest cosine", "opposed")
    rows = tuple(
        (
            part["name"],
            part["elements"],
            *part["norms"],
            *part["relative_changes"],
            part["lowest_cosine"],
            part["opposed"],
        )
        for part in parts
    )
    return Sheet(title, columns, rows)


def of_models(report: Any) -> Sheet:
    """The models of a comparison, with their norms and relative changes as a whole, and where they lie."""
    against = f"relative change against {report['reference']}"
    rows = zip(report["models"], report["norms"], report["relative_changes"], report["paths"], strict=True)
    return Sheet("Models", ("model", "norm", against, "path"), tuple(rows))
