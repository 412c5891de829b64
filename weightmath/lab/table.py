"""Results tables: what was evaluated at which point, one JSON object a line, and the same as CSV.

`STEM.jsonl` is the truth, `STEM.csv` a copy for spreadsheets. The first line is the head, each other one a row.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from weightmath import __version__
from weightmath.errors import TableError
from weightmath.paths import expanded
from weightmath.recipe.metric import Goal
from weightmath.recipe.vary import Setting

FORMAT = "results 1"


@dataclass(frozen=True)
class Head:
    """What a table is about.

    what         "sweep", "search", "soup", "line", "plane", "around" or "noise"
    params       names of the axes
    metrics      names of what was measured; () in a head that waits for the first row to tell
    goal         by name of a metric whether more is better, "max", or less, "min"
    recipe       the recipe's text, where there is one
    recipe_hash  of all that decides what the points are: a table is gone on with only where it is the same
    about        what belongs to one kind of table
    version      of weightmath
    """

    what: str
    params: tuple[str, ...]
    metrics: tuple[str, ...] = ()
    goal: Mapping[str, Goal] = field(default_factory=dict)
    recipe: str | None = None
    recipe_hash: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    version: str = __version__


@dataclass(frozen=True)
class Row:
    """One point.

    index        its number, from 0
    params       its value on each axis
    metrics      what was measured there; NaN and infinities are numbers too
    seconds      that making and measuring it took
    checkpoint   the file that was kept, relative to the table's folder
    about        what belongs to one kind of table
    """

    index: int
    params: Mapping[str, Setting]
    metrics: Mapping[str, float]
    seconds: float = 0.0
    checkpoint: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A head and its rows, in the order of their numbers."""

    head: Head
    rows: tuple[Row, ...]

    def column(self, name: str) -> list[Any]:
        """The values of a parameter or metric, row by row. TableError for an unknown name."""
        if name in self.head.params:
            return [row.params[name] for row in self.rows]
        return [row.metrics[self._metric(name)] for row in self.rows]

    def best(self, metric: str | None = None) -> Row | None:
        """The row that is best by a metric (None: the first that has a goal), the first of equals.

        More is better where the head has no goal. Rows that are NaN there are never best; None where all are.
        """
        name = self._metric(metric or next(iter((*self.head.goal, *self.head.metrics)), ""))
        sign = _sign(self.head, name)
        known = [row for row in self.rows if not math.isnan(row.metrics[name])]
        return max(known, key=lambda row: (sign * row.metrics[name], -row.index), default=None)

    def pareto(self, metrics: Sequence[str] = ()) -> tuple[Row, ...]:
        """The rows that no other row dominates: is at least as good in all metrics, and better in one.

        metrics   those that count; (): those that have a goal, else all. Rows with a NaN among them do not count.
        """
        names = [self._metric(name) for name in metrics or self.head.goal or self.head.metrics]
        signs = [_sign(self.head, name) for name in names]
        scores = {
            row.index: [sign * row.metrics[name] for sign, name in zip(signs, names, strict=True)] for row in self.rows
        }
        known = {index: score for index, score in scores.items() if not any(map(math.isnan, score))}
        front = {i for i, own in known.items() if not any(_dominates(other, own) for other in known.values())}
        return tuple(row for row in self.rows if row.index in front)

    def _metric(self, name: str) -> str:
        if name not in self.head.metrics:
            listed = " ".join((*self.head.params, *self.head.metrics))
            raise TableError(f"the table has no column `{name}`", hint=f"it has: {listed}")
        return name


def _sign(head: Head, metric: str) -> int:
    return -1 if head.goal.get(metric) == "min" else 1


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))


def paths(stem: str | Path) -> tuple[Path, Path]:
    """The two files of a table: `STEM.jsonl` and `STEM.csv`. A stem may be given with either ending.

    Fails with TableError for a path without a name, such as `.`.
    """
    base = Path(stem)
    base = base.with_suffix("") if base.suffix in (".jsonl", ".csv") else base
    if base.name in ("", ".."):
        raise TableError("is a folder, and no name of a table", where=str(stem), hint="STEM of STEM.jsonl and STEM.csv")
    return base.with_name(f"{base.name}.jsonl"), base.with_name(f"{base.name}.csv")


def kept_beside(stem: str | Path, name: str) -> Path:
    """The path of a checkpoint that a table keeps: `STEM_NAME`, so that no two tables keep theirs as one file.

    A name that begins with the table's stays as it is, and one with folders is in them, seen from the table.
    """
    table, named = paths(stem)[0], expanded(name)
    mark = f"{table.stem}_"
    return table.parent / (named if named.name.startswith(mark) else named.with_name(mark + named.name))


def read(path: str | Path) -> Table:
    """The table at `STEM.jsonl`, which may be named by its stem. A last line that is cut short is left out.

    Fails with TableError where there is no such file, it is no results table, or a line is damaged.
    """
    file = paths(path)[0]
    if Path(path).is_file() and not file.exists():
        hint = "STEM.jsonl is one, of sweep, search, soup or landscape"
        raise TableError("is no results table", where=str(path), hint=hint)
    table, _ = parsed(file, content_of(file))
    if table is None:
        raise TableError("is empty", where=str(file))
    return table


def content_of(file: Path) -> bytes:
    """The bytes of a table's file. TableError where it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise TableError(f"cannot be read: {error.strerror}", where=str(file)) from None


def parsed(file: Path, content: bytes) -> tuple[Table | None, int]:
    """The table, and the bytes of its whole lines; None where not even the head is whole."""
    size = content.rfind(b"\n") + 1
    lines = content[:size].splitlines()
    if not lines:
        return None, 0
    head = _head(_object(file, 1, lines[0]), file)
    rows = [_row(_object(file, number, line), head, f"{file}:{number}") for number, line in enumerate(lines[1:], 2)]
    return Table(head, tuple(sorted(rows, key=lambda row: row.index))), size


def _object(file: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise TableError("the line is damaged", where=f"{file}:{number}", hint="take the line out, or measure anew")
    return found


def _head(data: dict[str, Any], file: Path) -> Head:
    if data.get("weightmath") != FORMAT:
        raise TableError("is no results table of this version", where=str(file))
    try:
        known = {key: value for key, value in data.items() if key != "weightmath"}
        head = Head(**{**known, "params": tuple(data["params"]), "metrics": tuple(data["metrics"])})
        texts = (head.what, head.version, *head.params, *head.metrics, head.recipe or "", head.recipe_hash or "")
        whole = all(isinstance(text, str) for text in texts) and isinstance(head.about, dict)
        whole = (
            whole and all(goal in ("max", "min") for goal in head.goal.values()) and set(head.goal) <= {*head.metrics}
        )
    except (KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise TableError("the head is damaged", where=f"{file}:1")
    return head


def _row(data: dict[str, Any], head: Head, where: str) -> Row:
    try:
        row = Row(**data)
        row = replace(row, metrics={name: float(value) for name, value in row.metrics.items()})
        whole = set(row.params) == {*head.params} and set(row.metrics) == {*head.metrics}
        whole = whole and all(isinstance(value, Setting) for value in row.params.values())
        whole = whole and isinstance(row.index, int) and isinstance(row.seconds, int | float)
        whole = whole and isinstance(row.about, dict) and isinstance(row.checkpoint, str | None)
    except (TypeError, ValueError, AttributeError, OverflowError):
        whole = False
    if not whole:
        raise TableError("the row is damaged", where=where, hint="take the line out, or measure anew")
    return row
