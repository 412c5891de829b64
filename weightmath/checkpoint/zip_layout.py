"""The bytes of a zip file around its records, exactly as torch.save (miniz) lays them out.

Every position follows from the names and sizes alone, so that records can be written in any order. The layout is
part of torch's format: with a `.format_version` record, loaders compute positions instead of reading headers.
Records are stored, aligned by a filler field in their header, and followed by a descriptor with their checksum.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_UTF8, _HAS_DESCRIPTOR = 0x0800, 0x0008
ALIGNMENT = 64
LARGEST_ALIGNMENT = 1 << 15  # the filler's length has 16 bits


class Place(NamedTuple):
    """Where a record lies: its header, and its `size` bytes at `offset`."""

    name: bytes
    header: int
    offset: int
    size: int

    @property
    def wide(self) -> bool:
        """Whether 32 bits do not hold its size or position."""
        return self.size >= _FULL32 or self.header >= _FULL32

    @property
    def end(self) -> int:
        """The byte after its descriptor."""
        descriptor = (24 if self.wide else 16) if self.size else 0
        return self.offset + self.size + descriptor


def lay_out(records: Iterable[tuple[str, int]], alignment: int = ALIGNMENT) -> tuple[Place, ...]:
    """Places of records, given as name and size, in this order from the start of the file."""
    places = []
    header = 0
    for text, size in records:
        name = text.encode()
        start = header + _LOCAL.size + len(name) + len(_zip64(size, header, local=True)) + 4
        places.append(Place(name, header, -(-start // alignment) * alignment, size))
        header = places[-1].end
    return tuple(places)


def total_size(places: Sequence[Place]) -> int:
    """Bytes of the whole file."""
    directory = sum(
        _CENTRAL.size + len(place.name) + len(_zip64(place.size, place.header, local=False)) for place in places
    )
    return (places[-1].end if places else 0) + directory + 56 + 20 + 22


def local_header(place: Place) -> bytes:
    """The bytes from a record's header to its data."""
    zip64 = _zip64(place.size, place.header, local=True)
    filler = place.offset - place.header - _LOCAL.size - len(place.name) - len(zip64) - 4
    extra = zip64 + b"FB" + struct.pack("<H", filler) + b"Z" * filler
    return _LOCAL.pack(b"PK\3\4", 0, _flags(place), 0, 0, 0, 0, 0, 0, len(place.name), len(extra)) + place.name + extra


def descriptor(place: Place, crc: int) -> bytes:
    """The bytes after a record's data."""
    if not place.size:
        return b""
    return struct.pack("<4sIQQ" if place.wide else "<4sIII", b"PK\7\10", crc, place.size, place.size)


def directory(places: Sequence[Place], crcs: Sequence[int]) -> bytes:
    """The directory and the records that end the file, to be written after the last place."""
    entries = b"".join(map(_central, places, crcs))
    start = places[-1].end if places else 0
    count = len(places)
    end64 = struct.pack(
        "<4sQ2H2I4Q", b"PK\6\6", 44, 0x031E, 0x2D, 0, 0, count, count, len(entries), start
    ) + struct.pack("<4sIQI", b"PK\6\7", 0, start + len(entries), 1)
    short = min(count, _FULL16)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, short, short, min(len(entries), _FULL32), min(start, _FULL32), 0)
    return entries + end64 + end


def _central(place: Place, crc: int) -> bytes:
    extra = _zip64(place.size, place.header, local=False)
    size = min(place.size, _FULL32)
    fields = (0, 0, _flags(place), 0, 0, 0, crc, size, size, len(place.name), len(extra), 0, 0, 0, 0)
    return _CENTRAL.pack(b"PK\1\2", *fields, min(place.header, _FULL32)) + place.name + extra


def _flags(place: Place) -> int:
    return _UTF8 | _HAS_DESCRIPTOR if place.size else _UTF8


def _zip64(size: int, header: int, *, local: bool) -> bytes:
    """The field with what 32 bits do not hold. miniz writes the packed size into local headers before it knows it."""
    if size < _FULL32 and header < _FULL32:
        return b""
    numbers = [size, 0 if local else size] if size >= _FULL32 else []
    if header >= _FULL32:
        numbers.append(header)
    return struct.pack(f"<2H{len(numbers)}Q", 1, 8 * len(numbers), *numbers)
