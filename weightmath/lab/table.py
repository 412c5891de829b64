"""Results tables: what was evaluated at which point, one JSON object a line, and the same as CSV.

`STEM.jsonl` is the truth, `STEM.csv` a copy for spreadsheets. The first line is the head, each other one a row. A row
is on the disk before the next point is begun, so that whatever ends a program costs no more than the points in hand.
"""

from __future__ import annotations

import csv
import fcntl
import json
import math
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

from weightmath import __version__
from weightmath.errors import TableError

FORMAT = "results 1"
_SECONDS_BETWEEN = 1.0  # that two fsyncs are apart: each takes as long as many points
Goal = Literal["max", "min"]
Value = bool | int | float | str  # of a parameter


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
    params: Mapping[str, Value]
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
    """The two files of a table: `STEM.jsonl` and `STEM.csv`. A stem may be given with either ending."""
    base = Path(stem)
    base = base.with_suffix("") if base.suffix in (".jsonl", ".csv") else base
    return base.with_name(f"{base.name}.jsonl"), base.with_name(f"{base.name}.csv")


def read(path: str | Path) -> Table:
    """The table at `STEM.jsonl`, which may be named by its stem. A last line that is cut short is left out.

    Fails with TableError where there is no such file, it is no results table, or a line is damaged.
    """
    file = paths(path)[0]
    table, _ = _parsed(file, _bytes(file))
    if table is None:
        raise TableError("is empty", where=str(file))
    return table


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise TableError(f"cannot be read: {error.strerror}", where=str(file)) from None


def _parsed(file: Path, content: bytes) -> tuple[Table | None, int]:
    """The table, and the bytes of its whole lines; None where not even the head is whole."""
    size = content.rfind(b"\n") + 1
    lines = content[:size].splitlines()
    if not lines:
        return None, 0
    head = _head(_object(file, 1, lines[0]), file)
    rows = [_row(_object(file, number, line), f"{file}:{number}") for number, line in enumerate(lines[1:], 2)]
    return Table(head, tuple(sorted(rows, key=lambda row: row.index))), size


def _object(file: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise TableError("the line is damaged", where=f"{file}:{number}", hint="take the line out, or measure anew")
    return found


def _head(data: dict[str, Any], file: Path) -> Head:
    if data.get("weightmath") != FORMAT:
        raise TableError("is no results table of this version", where=str(file))
    try:
        return Head(
            what=data["what"],
            params=tuple(data["params"]),
            metrics=tuple(data["metrics"]),
            **{key: data[key] for key in ("goal", "recipe", "recipe_hash", "about", "version")},
        )
    except (KeyError, TypeError):
        raise TableError("the head is damaged", where=f"{file}:1") from None


def _row(data: dict[str, Any], where: str) -> Row:
    try:
        row = Row(**data)
        return replace(row, metrics={name: float(value) for name, value in row.metrics.items()})
    except (TypeError, ValueError, AttributeError):
        raise TableError("the row is damaged", where=where, hint="take the line out, or measure anew") from None


class Appender:
    """A table that grows, as a context manager.

    A row is in the files when `append` returns, and outlives the program; within a second it outlives the machine.

    stem     where: `STEM.jsonl` and `STEM.csv`
    head     with `metrics` (), those of the first row count
    resume   go on with a table that is there; its rows are in `table`, and a last line that was cut short is dropped
    durable  see to it that rows are on the disk; not for a table that is removed
    Fails    with TableError where a table is there and `resume` is false, where it belongs to something else, where
             another program is writing it
    """

    def __init__(self, stem: str | Path, head: Head, *, resume: bool = False, durable: bool = True) -> None:
        check_free(stem, resume=resume)
        self._file, self._csv_file = paths(stem)
        self._stream = _open_alone(self._file)
        self._durable = durable
        self._synced = 0.0
        try:
            there, size = _parsed(self._file, _bytes(self._file))
            known = Table(head, ()) if there is None else _continued(there, head, self._file)
            self.head, self._rows = known.head, list(known.rows)
            self._stream.truncate(size)
            self._stream.seek(size)
            self._copy = self._csv_file.open("w", encoding="utf-8", newline="")
        except BaseException:
            self._stream.close()
            raise
        if self._rows:
            self._write_csv(titles(self.head), *(_cells(self.head, row) for row in known.rows))

    @property
    def table(self) -> Table:
        """What the files hold now."""
        return Table(self.head, tuple(sorted(self._rows, key=lambda row: row.index)))

    def __len__(self) -> int:
        return len(self._rows)

    def aim(self, goal: Mapping[str, Goal]) -> None:
        """Say which metrics count, before the first row is there."""
        self.head = replace(self.head, goal=dict(goal))

    def append(self, row: Row) -> None:
        """Add a row. TableError where it has other parameters or metrics than the table."""
        head = self.head if self.head.metrics else replace(self.head, metrics=tuple(row.metrics))
        for word, known, given in (("parameters", head.params, row.params), ("metrics", head.metrics, row.metrics)):
            if set(known) != set(given):
                fact = f"point {row.index} has the {word} `{' '.join(given)}`, and the table `{' '.join(known)}`"
                raise TableError(fact, where=str(self._file))
        if not self._rows:
            self._write_line({"weightmath": FORMAT, **vars(head)})
            self._write_csv(titles(head))
        self._write_line(vars(row))
        self._write_csv(_cells(head, row))
        self.head = head
        self._rows.append(row)

    def _write_line(self, data: Mapping[str, Any]) -> None:
        self._stream.write(json.dumps(_plain(data), ensure_ascii=False, allow_nan=False).encode() + b"\n")
        self._stream.flush()
        if self._durable and time.monotonic() > self._synced + _SECONDS_BETWEEN:
            os.fsync(self._stream.fileno())
            self._synced = time.monotonic()

    def _write_csv(self, *rows: Sequence[Any]) -> None:
        csv.writer(self._copy).writerows(rows)
        self._copy.flush()

    def __enter__(self) -> Appender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._rows and self._durable:
            os.fsync(self._stream.fileno())
        if not self._rows:
            # Nothing was measured: no table, rather than one without a head.
            self._file.unlink()
            self._csv_file.unlink()
        self._copy.close()
        self._stream.close()


def check_free(stem: str | Path, *, resume: bool) -> None:
    """TableError where a table may not be written: its files exist, and it does not go on with them."""
    file, copy = paths(stem)
    if not file.parent.is_dir():
        raise TableError("there is no such folder", where=str(file.parent))
    if file.exists() and not resume:
        hint = "--resume goes on with it; -o STEM writes another"
        raise TableError("exists, and results are never overwritten", where=str(file), hint=hint)
    if copy.exists() and not file.exists():
        raise TableError("exists, and no table beside it", where=str(copy), hint="-o STEM writes elsewhere")


def _open_alone(file: Path) -> BinaryIO:
    """The file, which is made if there is none; TableError while another program has it."""
    stream = os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        raise TableError("another program is writing it", where=str(file), hint="wait for it, or -o STEM") from None
    return stream


def _continued(there: Table, head: Head, file: Path) -> Table:
    """The table that is gone on with; TableError where it is about something else."""
    for word in ("what", "recipe_hash", "params"):
        if getattr(there.head, word) != getattr(head, word):
            hint = "-o STEM begins another table"
            raise TableError(f"belongs to another {there.head.what}", where=str(file), hint=hint)
    return there


def titles(head: Head) -> list[str]:
    """The columns of the CSV file; a name that would stand for two columns has its kind before it."""
    names = [("index", "index"), *(("params", name) for name in head.params)]
    names += [*(("metrics", name) for name in head.metrics), ("seconds", "seconds"), ("checkpoint", "checkpoint")]
    often = Counter(name for _, name in names)
    return [f"{kind}.{name}" if often[name] > 1 and kind != name else name for kind, name in names]


def _cells(head: Head, row: Row) -> list[Any]:
    params, metrics = (row.params[name] for name in head.params), (row.metrics[name] for name in head.metrics)
    return [row.index, *params, *metrics, row.seconds, row.checkpoint]


def _plain(value: Any) -> Any:
    """What JSON can say: NaN and infinities, which it lacks, become "nan", "inf" and "-inf"."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
