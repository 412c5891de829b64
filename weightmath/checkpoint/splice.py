"""Edits a pickle as text: replaces spans of bytes and leaves every other byte as it is.

What makes it more than string surgery is the memo. A span that is replaced may define a memo entry (PUT) that
the rest of the pickle reads (GET): the first storage's class, `cuda:0`, a tensor that is tied to another. Such a
definition *sinks*: the first surviving GET becomes the original definition with its PUT, and later ones stay.
Changing the definition where it stands would change whatever else shares it, such as a hyper-parameter.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from weightmath.checkpoint import emit
from weightmath.checkpoint.machine import Pickle
from weightmath.checkpoint.nodes import Container, Value
from weightmath.errors import CheckpointError


class Edit(NamedTuple):
    """Replace bytes [start, stop) by `new`. Edits may lie within each other; the outer one then wins."""

    start: int
    stop: int
    new: bytes


class _MemoPut(NamedTuple):
    start: int
    stop: int
    number: int
    definition: tuple[int, int]


class _MemoGet(NamedTuple):
    start: int
    stop: int
    put: _MemoPut


class _Definition(NamedTuple):
    start: int
    stop: int
    put: _MemoPut


_Point = Edit | _MemoPut | _MemoGet | _Definition


_MEMOIZE, _BINPUT, _BINGET = 0x94, 0x71, 0x68


def splice(pickle: Pickle, edits: Iterable[Edit]) -> bytes:
    """The pickle with these edits. Without any, the same bytes.

    The pickle must have explicit memo numbers (see `explicit_memo`).
    Fails   CheckpointError if the pickle is built in a way that cannot be edited safely
    """
    edits = sorted(set(edits), key=lambda edit: (edit.start, edit.start != edit.stop, -edit.stop))
    if not edits:
        return pickle.data
    if not pickle.plain:
        raise CheckpointError(
            "its pickle discards or changes values in a way that cannot be edited",
            hint="keep dtypes and entries as they are, with `device: keep`, or save it again with torch.save",
        )
    try:
        return _Splice(pickle, edits).result()
    except RecursionError:
        raise CheckpointError("its pickle shares values too deeply to be edited") from None


def explicit_memo(pickle: Pickle) -> bytes:
    """The pickle with memo numbers written out and without frames, which protocol 4 added."""
    changes = [(at, at + 1, emit.put(number)) for at, number, _, _ in pickle.puts if pickle.data[at] == _MEMOIZE]
    changes += [(at, at + 9, b"") for at in pickle.frames]
    pieces, done = [], 0
    for start, stop, new in sorted(changes):
        pieces += [pickle.data[done:start], new]
        done = stop
    return b"".join([*pieces, pickle.data[done:]])


class _Splice:
    def __init__(self, pickle: Pickle, edits: Sequence[Edit]) -> None:
        self.data = pickle.data
        self.output = bytearray()
        self.memo: dict[int, _MemoPut] = {}
        self.defined: set[_MemoPut] = set()
        points: list[_Point] = [*edits, *_memo_points(pickle, edits)]
        points.sort(key=lambda point: (point.start, point.start != point.stop, -point.stop))
        self.points = points
        self.starts = [point.start for point in points]

    def result(self) -> bytes:
        self.emit(0, len(self.data))
        return bytes(self.output)

    def emit(self, begin: int, end: int) -> None:
        """Write out bytes [begin, end) with the edits that lie inside."""
        done = begin
        for number in range(bisect_left(self.starts, begin), len(self.points)):
            point = self.points[number]
            if point.start >= end:
                break
            if point.start < done or not self.applies(point, begin, end):
                continue
            self.output += self.data[done : point.start]
            self.apply(point)
            done = point.stop
        self.output += self.data[done:end]

    def applies(self, point: _Point, begin: int, end: int) -> bool:
        """Whether a point matters to [begin, end).

        Not an edit that replaces all of it, or inserts before it; and a definition only if it was written before.
        """
        if isinstance(point, Edit):
            return not (point.start == begin > 0 and (point.stop >= end or point.stop == point.start))
        return not isinstance(point, _Definition) or self.memo.get(point.put.number) == point.put

    def apply(self, point: _Point) -> None:
        if isinstance(point, Edit):
            self.output += point.new
        elif isinstance(point, _Definition):
            self.output += emit.get(point.put.number)
        elif isinstance(point, _MemoPut):
            self.define(point)
        elif self.memo.get(point.put.number) == point.put:
            self.output += self.data[point.start : point.stop]
        else:
            self.emit(*point.put.definition)

    def define(self, put: _MemoPut) -> None:
        if put in self.defined:
            raise CheckpointError("its pickle uses a memo number twice in a way that cannot be edited")
        self.output += self.data[put.start : put.stop]
        self.memo[put.number] = put
        self.defined.add(put)


def _memo_points(pickle: Pickle, edits: Sequence[Edit]) -> list[_MemoPut | _MemoGet | _Definition]:
    """The memo's opcodes that an edit can upset: those of numbers defined inside one, or defined twice."""
    watched = _watched_numbers(pickle, edits)
    puts = [_put(pickle, *put) for put in pickle.puts if put[1] in watched]
    gets = [(at, number) for at, number in pickle.gets if number in watched]
    points: list[_MemoPut | _MemoGet | _Definition] = [_Definition(*put.definition, put) for put in puts]
    current: dict[int, _MemoPut] = {}
    merged: list[tuple[int, int, _MemoPut | None]] = [(put.start, put.number, put) for put in puts]
    merged += [(at, number, None) for at, number in gets]
    for at, number, put in sorted(merged, key=lambda event: event[0]):
        if put is not None:
            current[number] = put
            points.append(put)
        else:
            points.append(_MemoGet(at, at + (2 if pickle.data[at] == _BINGET else 5), current[number]))
    return points


def _watched_numbers(pickle: Pickle, edits: Sequence[Edit]) -> set[int]:
    outer: list[Edit] = []
    for edit in edits:
        if edit.stop > edit.start and (not outer or edit.start >= outer[-1].stop):
            outer.append(edit)
    starts = [edit.start for edit in outer]
    watched: set[int] = set()
    seen: set[int] = set()
    for at, number, _, _ in pickle.puts:
        place = bisect_left(starts, at + 1) - 1
        if number in seen or (place >= 0 and at < outer[place].stop):
            watched.add(number)
        seen.add(number)
    return watched


def _put(pickle: Pickle, at: int, number: int, start: int, value: Value) -> _MemoPut:
    stop = at + (2 if pickle.data[at] == _BINPUT else 5)
    end = value.end if isinstance(value, Container) and value.start == start else stop
    return _MemoPut(at, stop, number, (start, max(stop, end)))
