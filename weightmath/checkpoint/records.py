"""The directory of a zip file: what torch.save writes, read strictly.

Only what can be read without ambiguity is accepted: one directory at the end, no record twice, none that overlaps
another or leaves the file, and a local header that agrees with the directory.
"""

from __future__ import annotations

import os
import struct
from itertools import pairwise
from typing import NamedTuple

from weightmath.errors import CheckpointError

_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_FULL32 = 0xFFFFFFFF
STORED = 0
_ENCRYPTED, _LATE = 1, 8  # flags of a record


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


def read_directory(file: int, length: int, start: int = 0) -> tuple[Record, ...]:
    """The records of a zip of `length` bytes, in the order of their place in the file.

    file     an open descriptor
    start    byte of the file where the zip begins
    Fails    CheckpointError if the file is truncated or is not a plain zip
    """
    try:
        directory, count, end = _locate(file, length, start)
        records = sorted(_entries(directory, count), key=lambda record: record.header)
        records = [_with_data_offset(file, start, record) for record in records]
    except (struct.error, OverflowError, ValueError):
        raise _broken("its directory cannot be read") from None
    _check_disjoint(records, start + end)
    return tuple(records)


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
    if len(directory) != size or count * _CENTRAL.size > size:
        raise _broken("its directory is cut off")
    return directory, count, start


def _entries(directory: bytes, count: int) -> list[Record]:
    records: dict[str, Record] = {}
    at = 0
    for _ in range(count):
        fields = _CENTRAL.unpack_from(directory, at)
        signature, flags, method, packed, unpacked = fields[0], fields[3], fields[4], fields[8], fields[9]
        name_length, extra_length, comment_length, header = fields[10], fields[11], fields[12], fields[16]
        if signature != b"PK\1\2" or flags & _ENCRYPTED or fields[13]:
            raise _broken("an entry of its directory is damaged, encrypted or elsewhere")
        name_end = at + _CENTRAL.size + name_length
        name = directory[at + _CENTRAL.size : name_end].decode()
        if _FULL32 in (packed, unpacked, header):
            extra = directory[name_end : name_end + extra_length]
            unpacked, packed, header = _wide(extra, packed, unpacked, header)
        if name in records:
            raise _broken(f"it holds `{name}` twice")
        if method == STORED and packed != unpacked:
            raise _broken(f"`{name}` has two sizes")
        records[name] = Record(name, header, 0, packed, method, fields[7])
        at = name_end + extra_length + comment_length
    if at != len(directory):
        raise _broken("its directory holds more than its end record says")
    return list(records.values())


def _wide(extra: bytes, packed: int, unpacked: int, header: int) -> tuple[int, int, int]:
    """Both sizes and the header's position, from the zip64 field where the 32-bit fields are full."""
    at = 0
    while at + 4 <= len(extra):
        tag, size = struct.unpack_from("<2H", extra, at)
        if tag == 1:
            numbers = iter(struct.unpack_from(f"<{size // 8}Q", extra, at + 4))
            unpacked, packed, header = (
                next(numbers, value) if value == _FULL32 else value for value in (unpacked, packed, header)
            )
            return unpacked, packed, header
        at += 4 + size
    return unpacked, packed, header


def _with_data_offset(file: int, start: int, record: Record) -> Record:
    name = record.name.encode()
    fields = os.pread(file, _LOCAL.size + len(name), start + record.header)
    signature, _, flags, method, _, _, crc, packed, unpacked, name_length, extra_length = _LOCAL.unpack_from(fields)
    agrees = signature == b"PK\3\4" and method == record.method and fields[_LOCAL.size :] == name
    # What a writer learns late stands behind the data, or in a zip64 field: then it is not here.
    late = flags & _LATE or packed == _FULL32
    agrees = agrees and bool(late or (crc, packed) == (record.crc, record.size))
    agrees = agrees and bool(late or method != STORED or unpacked == record.size)
    if not agrees or flags & _ENCRYPTED or name_length != len(name):
        raise _broken(f"the header of `{record.name}` differs from the directory")
    header = start + record.header
    offset = header + _LOCAL.size + name_length + extra_length
    return Record(record.name, header, offset, record.size, method, record.crc)


def _check_disjoint(records: list[Record], end: int) -> None:
    for record, following in pairwise(records):
        if record.offset + record.size > following.header:
            raise _broken(f"`{record.name}` and `{following.name}` overlap")
    if records and records[-1].offset + records[-1].size > end:
        raise _broken(f"`{records[-1].name}` leaves the file")


def read_bytes(file: int, offset: int, size: int) -> bytes:
    """Bytes of an open file; CheckpointError if it ends before."""
    data = os.pread(file, size, offset)
    if len(data) != size:
        raise _broken("it ends within a record")
    return data
