"""The bytes of a zip file around its records, exactly as torch.save (miniz) lays them out.

Every position follows from the names and sizes alone, so that records can be written in any order. The layout is
part of torch's format: with a `.format_version` record, loaders compute positions instead of reading headers.
Records are stored, aligned by a filler field in their header, and followed by a descriptor with their checksum.

A hundred thousand records are a table, as where they are read: what is computed of them is computed by column.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np

Numbers = np.ndarray[Any, np.dtype[Any]]

CENTRAL = np.dtype("<u4, <u2, <u2, <u2, <u2, <u2, <u2, <u4, <u4, <u4, <u2, <u2, <u2, <u2, <u2, <u4, <u4")
CENTRAL.names = (
    "signature", "made_by", "version", "flags", "method", "time", "date", "crc", "packed", "unpacked",
    "name", "extra", "comment", "disk", "internal", "external", "header",
)  # fmt: skip
LOCAL = np.dtype("<u4, <u2, <u2, <u2, <u2, <u2, <u4, <u4, <u4, <u2, <u2")
LOCAL.names = ("signature", "version", *CENTRAL.names[3:12])
CENTRAL_SIGNATURE, LOCAL_SIGNATURE = 0x02014B50, 0x04034B50
FULL32 = 0xFFFFFFFF
_FULL16 = 0xFFFF
_UTF8, _HAS_DESCRIPTOR = 0x0800, 0x0008
_FILLER_HEAD = 4  # bytes before the filler itself
ALIGNMENT = 64
LARGEST_ALIGNMENT = 1 << 15  # the filler's length has 16 bits


@dataclass(frozen=True, eq=False)
class RecordPlaces:
    """Where records lie, one row for each: its header, and its `size` bytes at `offset`."""

    names: Sequence[bytes]
    headers: Numbers
    offsets: Numbers
    sizes: Numbers

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        fields = int(_zip64_sizes(self.headers, self.sizes).sum())
        return self._end + CENTRAL.itemsize * len(self.names) + sum(map(len, self.names)) + fields + 56 + 20 + 22

    @property
    def _end(self) -> int:
        """The byte after the last record and its descriptor."""
        ends = self.offsets + self.sizes + _descriptor_sizes(self.headers, self.sizes)
        return int(ends[-1]) if len(ends) else 0

    def around(self, crcs: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Everything but the contents of the records, from their checksums: positions and bytes."""
        at, before = 0, b""  # the descriptor of a record and the header of the next are one run
        wide = _is_wide(self.headers, self.sizes).tolist()
        rows = zip(self._headers(), self.offsets.tolist(), self.sizes.tolist(), crcs, wide, strict=True)
        for header, offset, size, crc, is_wide in rows:
            yield at, before + header
            at, before = offset + size, _descriptor(size, crc, is_wide)
        yield at, before + self._directory(crcs)

    def _headers(self) -> Iterator[bytes]:
        """The bytes from the header of each record to its data."""
        table = self._table(LOCAL, LOCAL_SIGNATURE)
        table["extra"] = self.offsets - self.headers - LOCAL.itemsize - table["name"]
        fillers = table["extra"] - _zip64_sizes(self.headers, self.sizes) - _FILLER_HEAD
        fields = self._zip64(is_local=True)
        for fixed, name, field, filler in zip(_rows(table), self.names, fields, fillers.tolist(), strict=True):
            yield fixed + name + field + _filler(filler)

    def _directory(self, crcs: Sequence[int]) -> bytes:
        """The directory and the records that end the file."""
        table = self._table(CENTRAL, CENTRAL_SIGNATURE)
        table["crc"] = crcs
        table["packed"] = table["unpacked"] = np.minimum(self.sizes, FULL32)
        table["header"] = np.minimum(self.headers, FULL32)
        table["extra"] = _zip64_sizes(self.headers, self.sizes)
        parts = zip(_rows(table), self.names, self._zip64(is_local=False), strict=True)
        entries, count, start = b"".join(chain.from_iterable(parts)), len(self.names), self._end
        end64 = struct.pack(
            "<4sQ2H2I4Q", b"PK\6\6", 44, 0x031E, 0x2D, 0, 0, count, count, len(entries), start
        ) + struct.pack("<4sIQI", b"PK\6\7", 0, start + len(entries), 1)
        short = min(count, _FULL16)
        end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, short, short, min(len(entries), FULL32), min(start, FULL32), 0)
        return entries + end64 + end

    def _table(self, kind: np.dtype[Any], signature: int) -> Numbers:
        """What is the same in the headers before the records and in the directory."""
        table = np.zeros(len(self.names), kind)
        table["signature"] = signature
        table["flags"] = np.where(self.sizes > 0, _UTF8 | _HAS_DESCRIPTOR, _UTF8)
        table["name"] = list(map(len, self.names))
        return table

    def _zip64(self, *, is_local: bool) -> list[bytes]:
        """Of each record the field with what 32 bits do not hold: of hardly any."""
        fields = [b""] * len(self.names)
        for row in np.flatnonzero(_is_wide(self.headers, self.sizes)).tolist():
            fields[row] = _zip64(int(self.sizes[row]), int(self.headers[row]), is_local=is_local)
        return fields


def lay_out(names: Iterable[str], sizes: Sequence[int], alignment: int = ALIGNMENT) -> RecordPlaces:
    """Places of records with these names and sizes, in this order from the start of the file."""
    raw = tuple(name.encode() for name in names)
    lengths, every = np.array(list(map(len, raw)), np.int64), np.array(sizes, np.int64)
    headers = np.zeros(len(raw), np.int64)
    while True:  # more than once past 4 GiB: how long headers are depends on where they lie
        before = LOCAL.itemsize + lengths + _zip64_sizes(headers, every) + _FILLER_HEAD
        tails = every + _descriptor_sizes(headers, every)
        # Data begin at multiples of the alignment, so that the way from one to the next is rounded up by itself.
        ways = before + np.concatenate([np.zeros(1, np.int64), tails])[:-1]
        offsets = np.cumsum(-(-ways // alignment) * alignment)
        found = np.concatenate([np.zeros(1, np.int64), offsets + tails])[:-1]
        if np.array_equal(found >= FULL32, headers >= FULL32):
            return RecordPlaces(raw, found, offsets, every)
        headers = found


def _is_wide(headers: Numbers, sizes: Numbers) -> Numbers:
    """Whether 32 bits do not hold the size or position of a record."""
    wide: Numbers = (sizes >= FULL32) | (headers >= FULL32)
    return wide


def _zip64_sizes(headers: Numbers, sizes: Numbers) -> Numbers:
    """Bytes of the fields that `_zip64` makes."""
    numbers: Numbers = 4 * _is_wide(headers, sizes) + 16 * (sizes >= FULL32) + 8 * (headers >= FULL32)
    return numbers


def _zip64(size: int, header: int, *, is_local: bool) -> bytes:
    """miniz writes the packed size into headers before records before it knows it."""
    numbers = [size, 0 if is_local else size] if size >= FULL32 else []
    if header >= FULL32:
        numbers.append(header)
    return struct.pack(f"<2H{len(numbers)}Q", 1, 8 * len(numbers), *numbers)


def _descriptor_sizes(headers: Numbers, sizes: Numbers) -> Numbers:
    return np.where(sizes > 0, np.where(_is_wide(headers, sizes), 24, 16), 0)


def _descriptor(size: int, crc: int, is_wide: bool) -> bytes:
    """The bytes after a record's data."""
    if not size:
        return b""
    return struct.pack("<4sIQQ" if is_wide else "<4sIII", b"PK\7\10", crc, size, size)


@lru_cache(maxsize=LARGEST_ALIGNMENT)
def _filler(size: int) -> bytes:
    return b"FB" + struct.pack("<H", size) + b"Z" * size


def _rows(table: Numbers) -> Iterator[bytes]:
    whole, size = table.tobytes(), table.itemsize
    return (whole[start : start + size] for start in range(0, len(whole), size))
