"""The directory of a zip file: what torch.save writes, read strictly.

Only what can be read without ambiguity is accepted: one directory at the end, no record twice, none that overlaps
another or leaves the file, and a local header that agrees with the directory.

A hundred thousand records are a table of numbers: checked as such, by column, and kept as such.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress, pairwise
from typing import Any, NamedTuple

import numpy as np

from weightmath.checkpoint.zip_layout import CENTRAL, CENTRAL_SIGNATURE, FULL32, LOCAL, LOCAL_SIGNATURE, Numbers
from weightmath.errors import CheckpointError

_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")
_LENGTHS = struct.Struct("<3H")  # of an entry's name, extra fields and comment
_LENGTHS_AT = 28
STORED = 0
_ENCRYPTED, _LATE = 1, 8  # flags of a record
_NEAR = 1 << 12  # bytes between two headers that cost less to read than a second call
_TOGETHER = 1 << 12  # headers that are looked at together


class Record(NamedTuple):
    """One file inside the zip. `size` is that of the stored bytes, which begin at `offset`.

    `crc` is the checksum that was written with it, None for what only stands for a record.
    """

    name: str
    header: int
    offset: int
    size: int
    method: int
    crc: int | None = None


class Names(tuple[str, ...]):
    """The names of records, which files of one model have in common."""

    @cached_property
    def rows(self) -> dict[str, int]:
        """The place of each."""
        return {name: row for row, name in enumerate(self)}


@dataclass(frozen=True, eq=False)
class Records(Mapping[str, Record]):
    """Records by their names, in the order of their place in the file. One is made when it is asked for.

    table   one row for each: header, offset, size, method, crc
    """

    names: Names
    table: Numbers

    def __getitem__(self, name: str) -> Record:
        return Record(name, *self.table[self.names.rows[name]].tolist())

    def __contains__(self, name: object) -> bool:
        return name in self.names.rows

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def places(self, names: Sequence[str]) -> tuple[Numbers, Numbers]:
        """Offset and size of each of these; KeyError for one that it has not."""
        first = self.names.rows[names[0]] if names else 0
        if self.names[first : first + len(names)] == tuple(names):  # as torch writes them
            rows = self.table[first : first + len(names)]
        else:
            rows = self.table[[self.names.rows[name] for name in names]]
        return rows[:, 1], rows[:, 2]

    @property
    def not_stored(self) -> list[str]:
        """Those that are compressed."""
        return [self.names[row] for row in np.flatnonzero(self.table[:, 3] != STORED).tolist()]

    def below(self, root: str) -> Records:
        """Those in a directory, by their names in it."""
        inside = [name.startswith(f"{root}/") for name in self.names]
        names = [name[len(root) + 1 :] for name in compress(self.names, inside)]
        return Records(Names(names), self.table if all(inside) else self.table[inside])


def read_directory(file: int, length: int, start: int = 0) -> Records:
    """The records of a zip of `length` bytes, in the order of their place in the file.

    file     an open descriptor
    start    byte of the file where the zip begins
    Fails    CheckpointError if the file is truncated or is not a plain zip
    """
    try:
        directory, count, end = _locate(file, length, start)
        names, table = _entries(directory, count)
        order = np.argsort(table[:, 0], kind="stable")
        names, table = [names[row] for row in order.tolist()], table[order]
        if count and table[-1, 0] > length:
            raise ValueError("a header beyond the end")
        table[:, 0] += start
        table[:, 1] = np.concatenate([*_data_offsets(file, names, table), np.zeros(0, np.int64)])
        records = Records(Names(name.decode() for name in names), table)
    except (struct.error, OverflowError, ValueError):
        raise _broken("its directory cannot be read") from None
    _check_disjoint(records, start + end)
    return records


def _broken(fact: str) -> CheckpointError:
    return CheckpointError(f"broken zip: {fact}", hint="the file is truncated or damaged; copy or download it again")


def _locate(file: int, length: int, begin: int) -> tuple[bytes, int, int]:
    """The directory's bytes, the number of its entries, and where it begins."""
    tail_start = max(0, length - _END.size - 0xFFFF)
    tail = os.pread(file, length - tail_start, begin + tail_start)
    at = tail.rfind(b"PK\5\6")
    if at < 0:
        raise _broken("it ends without a directory")
    _, disk, first_disk, here, count, size, start, comment = _END.unpack_from(tail, at)
    if disk or first_disk or here != count or at + _END.size + comment != len(tail):
        raise _broken("its end record is inconsistent")
    stop = tail_start + at
    if at >= _LOCATOR64.size and tail[at - _LOCATOR64.size :].startswith(b"PK\6\7"):
        _, _, end64, _ = _LOCATOR64.unpack_from(tail, at - _LOCATOR64.size)
        signature, *_, count, size, start = _END64.unpack(os.pread(file, _END64.size, begin + end64))
        if signature != b"PK\6\6":
            raise _broken("its zip64 end record is missing")
        stop = end64
    if start + size != stop:
        raise _broken("its directory is not where it should be")
    directory = os.pread(file, size, begin + start)
    if len(directory) != size or count * CENTRAL.itemsize > size:
        raise _broken("its directory is cut off")
    return directory, count, start


def _entries(directory: bytes, count: int) -> tuple[list[bytes], Numbers]:
    """Names and table of the records as the directory has them; offsets are not known yet."""
    at, places = 0, []
    for _ in range(count):
        places.append(at)
        name, extra, comment = _LENGTHS.unpack_from(directory, at + _LENGTHS_AT)
        at += CENTRAL.itemsize + name + extra + comment
    if at != len(directory):
        raise _broken("its directory holds more than its end record says")
    fields = _rows_at(directory, places, CENTRAL)
    if np.any((fields["signature"] != CENTRAL_SIGNATURE) | (fields["flags"] & _ENCRYPTED > 0) | (fields["disk"] > 0)):
        raise _broken("an entry of its directory is damaged, encrypted or elsewhere")
    begins = [place + CENTRAL.itemsize for place in places]
    names = [directory[begin : begin + size] for begin, size in zip(begins, fields["name"].tolist(), strict=True)]
    _check_distinct(names)
    wide = np.stack([fields["unpacked"], fields["packed"], fields["header"]], axis=1).astype(np.int64)
    for row in np.flatnonzero((wide == FULL32).any(axis=1)).tolist():
        begin = begins[row] + len(names[row])
        wide[row] = _wide(directory[begin : begin + int(fields["extra"][row])], *wide[row].tolist())
    two = np.flatnonzero((fields["method"] == STORED) & (wide[:, 0] != wide[:, 1]))
    if two.size:
        raise _broken(f"`{names[two[0]].decode()}` has two sizes")
    columns = (wide[:, 2], np.zeros(count), wide[:, 1], fields["method"], fields["crc"])
    return names, np.stack(columns, axis=1, dtype=np.int64, casting="unsafe")


def _rows_at(content: bytes, places: Sequence[int] | Numbers, kind: np.dtype[Any]) -> Numbers:
    """The structures that begin at these bytes."""
    if not len(places):
        return np.empty(0, kind)
    windows = np.lib.stride_tricks.sliding_window_view(np.frombuffer(content, np.uint8), kind.itemsize)
    found: Numbers = windows[np.array(places, np.int64)].view(kind)[:, 0]
    return found


def _check_distinct(names: Sequence[bytes]) -> None:
    if len(set(names)) < len(names):
        twice = next(one for one, other in pairwise(sorted(names)) if one == other)
        raise _broken(f"it holds `{twice.decode()}` twice")


def _wide(extra: bytes, unpacked: int, packed: int, header: int) -> tuple[int, int, int]:
    """Both sizes and the header's position, from the zip64 field where the 32-bit fields are full."""
    at = 0
    while at + 4 <= len(extra):
        tag, size = struct.unpack_from("<2H", extra, at)
        if tag == 1:
            numbers = iter(struct.unpack_from(f"<{size // 8}Q", extra, at + 4))
            unpacked, packed, header = (
                next(numbers, value) if value == FULL32 else value for value in (unpacked, packed, header)
            )
            return unpacked, packed, header
        at += 4 + size
    return unpacked, packed, header


def _data_offsets(file: int, names: Sequence[bytes], table: Numbers) -> Iterator[Numbers]:
    """Where the records' bytes begin, from the headers before them, which must agree with the directory."""
    for first in range(0, len(names), _TOGETHER):
        own, rows = names[first : first + _TOGETHER], table[first : first + _TOGETHER]
        content, places = _read_headers(file, own, rows[:, 0])
        fields = _rows_at(content, places, LOCAL)
        _, _, size, method, crc = rows.T
        # What a writer learns late stands behind the data, or in a zip64 field: then it is not here.
        late = (fields["flags"] & _LATE > 0) | (fields["packed"] == FULL32)
        agrees = (fields["signature"] == LOCAL_SIGNATURE) & (fields["method"] == method)
        agrees &= late | ((fields["crc"] == crc) & (fields["packed"] == size))
        agrees &= late | (method != STORED) | (fields["unpacked"] == size)
        agrees &= (fields["flags"] & _ENCRYPTED == 0) & (fields["name"] == [len(name) for name in own])
        begins = (places + LOCAL.itemsize).tolist()
        agrees &= [content.startswith(name, begin) for name, begin in zip(own, begins, strict=True)]
        differ = np.flatnonzero(~agrees)
        if differ.size:
            raise _broken(f"the header of `{own[differ[0]].decode()}` differs from the directory")
        yield rows[:, 0] + LOCAL.itemsize + fields["name"] + fields["extra"]


def _read_headers(file: int, names: Sequence[bytes], starts: Numbers) -> tuple[bytes, Numbers]:
    """The headers at these bytes, as far as the names go: bytes that hold them all, and where each begins in these."""
    stops = starts + LOCAL.itemsize + [len(name) for name in names]
    firsts = np.append(0, np.flatnonzero(np.diff(starts) > _NEAR) + 1)
    begins, ends = starts[firsts], np.maximum.reduceat(stops, firsts)
    sizes = ends - begins
    pieces = [os.pread(file, size, begin) for begin, size in zip(begins.tolist(), sizes.tolist(), strict=True)]
    if any(len(piece) < size for piece, size in zip(pieces, sizes.tolist(), strict=True)):
        raise ValueError("a header leaves the file")
    moved = np.cumsum(sizes) - sizes - begins  # from the file to the pieces, one after the other
    return b"".join(pieces), starts + np.repeat(moved, np.diff(firsts, append=len(names)))


def _check_disjoint(records: Records, end: int) -> None:
    header, offset, size = records.table[:, :3].T
    room = np.append(header[1:], end) - offset  # up to the next record, or to the directory
    beyond = np.flatnonzero(size > room)
    if beyond.size:
        row = int(beyond[0])
        name, following = f"`{records.names[row]}`", records.names[row + 1 : row + 2]
        raise _broken(f"{name} and `{following[0]}` overlap" if following else f"{name} leaves the file")


def read_bytes(file: int, offset: int, size: int) -> bytes:
    """Bytes of an open file; CheckpointError if it ends before."""
    data = os.pread(file, size, offset)
    if len(data) != size:
        raise _broken("it ends within a record")
    return data
