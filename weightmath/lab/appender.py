"""A results table that grows: rows are in its files when they are added, so that whatever ends a program costs none."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from weightmath.errors import TableError, shell_word
from weightmath.lab.table import FORMAT, Head, Row, Table, content_of, parsed, paths
from weightmath.plain import plain
from weightmath.recipe.metric import Goal

_SECONDS_BETWEEN = 1.0  # that two fsyncs are apart: each takes as long as many points


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
            there, size = parsed(self._file, content_of(self._file))
            known = Table(head, ()) if there is None else _continued(there, head, self._file)
            if not known.rows:
                known, size = Table(head, ()), 0  # a head alone is written again, with the first row
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
        self._sync()

    def _write_line(self, data: Mapping[str, Any]) -> None:
        self._stream.write(json.dumps(plain(data), ensure_ascii=False, allow_nan=False).encode() + b"\n")
        self._stream.flush()

    def _sync(self) -> None:
        if self._durable and time.monotonic() > self._synced + _SECONDS_BETWEEN:
            os.fsync(self._stream.fileno())
            self._synced = time.monotonic()

    def _write_csv(self, *rows: Sequence[Any]) -> None:
        csv.writer(self._copy).writerows(rows)
        self._copy.flush()

    def __enter__(self) -> Appender:
        return self

    def __exit__(self, *_: object) -> None:
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
        raise TableError("there is no such folder", where=str(file.parent), hint=f"mkdir -p {shell_word(file.parent)}")
    if file.exists() and not resume:
        hint = "--resume goes on with it; -o STEM writes another"
        raise TableError("exists, and results are never overwritten", where=str(file), hint=hint)
    if copy.exists() and not file.exists():
        raise TableError("exists, and no table beside it", where=str(copy), hint="-o STEM writes elsewhere")


def check_table(stem: str | Path, head: Head, *, resume: bool) -> Head | None:
    """The head of the table that is gone on with; None where one begins. TableError as for `Appender`."""
    check_free(stem, resume=resume)
    file = paths(stem)[0]
    if not file.exists():
        return None
    _open_alone(file).close()
    there = parsed(file, content_of(file))[0]
    return None if there is None else _continued(there, head, file).head


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
