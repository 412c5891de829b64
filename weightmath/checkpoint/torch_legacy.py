"""The container that torch.save wrote before version 1.6: five pickles in a row, then the storages, no zip.

    magic number, protocol version, system, the object, the keys of storages; then for each key a count and its bytes

It is described as the zip that torch.save would make of it today. So all that can be done with a zip (dropping
entries, other dtypes, copying everything else) can be done with an old file as a template, and the output is a zip.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from weightmath.checkpoint import emit
from weightmath.checkpoint.description import Checkpoint, Place, Stamp
from weightmath.checkpoint.machine import Pickle
from weightmath.checkpoint.nodes import Dict, Global, List, Tuple, Value
from weightmath.checkpoint.opcodes import read_pickle
from weightmath.checkpoint.rebuild import UNTYPED, StorageReference, storage_reference
from weightmath.checkpoint.records import STORED, Record, read_bytes
from weightmath.checkpoint.splice import Edit, explicit_memo, splice
from weightmath.checkpoint.torch_zip import TorchZip, describe
from weightmath.errors import CheckpointError
from weightmath.paused import paused_collection

CONTAINER = "torch legacy"
MAGIC = b"\x8a\x0a" + (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
_PROTOCOL = 1001
_FIRST_READ = 1 << 20
_LONGEST_HEAD = 1 << 28
_COUNT = 8  # bytes before each storage that say how many elements it has
_OTHER_SIZES = {UNTYPED: 1, "QInt8Storage": 1, "QUInt8Storage": 1, "QInt32Storage": 4, "QUInt4x2Storage": 1}
_SMALL = {".format_version": b"1", ".storage_alignment": b"64", "byteorder": b"little"}


class _Head(NamedTuple):
    """What stands before the storages: the object's pickle, keys in the order of the file, where the first begins."""

    pickle: bytes
    keys: list[str]
    end: int


def is_legacy(head: bytes) -> bool:
    """Whether a file that begins with these bytes is of this kind."""
    # Protocols 4 and 5 put the length of what follows before it.
    return head[:1] == b"\x80" and MAGIC in (head[2 : 2 + len(MAGIC)], head[11 : 11 + len(MAGIC)])


def open_torch_legacy(path: Path, file: int, stamp: Stamp) -> Checkpoint:
    """The description of a legacy checkpoint; CheckpointError if it is broken.

    file   an open descriptor, only used during the call
    """
    head = _read_head(file, stamp.size)
    with paused_collection():
        references, pickle = _modernised(head.pickle)
    structure = describe(pickle)
    data = dict(_records(head, references, file, stamp.size))
    records: dict[str, Record | bytes] = {"data.pkl": pickle, **_SMALL}
    records |= {f"data/{number}": data[key] for number, key in enumerate(references)}
    records["version"] = b"3\n"
    numbers = {str(number): key for number, key in enumerate(references)}
    return Checkpoint(
        path=path,
        container=CONTAINER,
        writer="PyTorch before 1.6",
        files=(path,),
        stamps=(stamp,),
        tensors=structure.tensors,
        places={key: Place(0, data[numbers[key]].offset) for key in structure.storages},
        tree=structure.tree,
        outlines=structure.outlines,
        source=TorchZip("archive", records, _SMALL, pickle, structure),
    )


def _read_head(file: int, size: int) -> _Head:
    """The pickles, whose length nothing tells: ever more of the file is read until they are complete."""
    length = _FIRST_READ
    while True:
        data = os.pread(file, length, 0)
        try:
            return _head(data)
        except CheckpointError:
            if len(data) >= min(size, _LONGEST_HEAD):
                raise
        length *= 4


def _head(data: bytes) -> _Head:
    with paused_collection():
        protocol = read_pickle(data, read_pickle(data).end)
        if protocol.root != _PROTOCOL:
            raise CheckpointError(f"has version {protocol.root!s:.20} of torch's old format; {_PROTOCOL} is known")
        system = read_pickle(data, protocol.end)
        if _entry(system.root, "little_endian") is not True:
            hint = "load and save it again on a little-endian one"
            raise CheckpointError("was saved on a big-endian machine", hint=hint)
        end = read_pickle(data, system.end).end
        keys = read_pickle(data, end)
    names = keys.root.items if isinstance(keys.root, List) else [None]
    if not all(isinstance(name, str) for name in names):
        raise CheckpointError("its list of storages is malformed")
    return _Head(data[system.end : end], [str(name) for name in names], keys.end)


def _entry(value: Value, name: str) -> Value:
    pairs = value.pairs if isinstance(value, Dict) else []
    return next((pair[1] for pair in pairs if pair[0] == name), None)


def _modernised(data: bytes) -> tuple[dict[str, StorageReference], bytes]:
    """The storages by their old keys in the order of first reference, and the pickle as a zip would hold it.

    Keys, which were addresses in memory, become that order's numbers. References have no view any more. Classes
    whose source was kept beside them are only named.
    """
    pickle = read_pickle(explicit_memo(read_pickle(data)))
    references: dict[str, StorageReference] = {}
    numbers: dict[str, int] = {}
    edits: list[Edit] = []
    for pid in pickle.pids:
        if isinstance(pid, Tuple) and pid.items[:1] == ["module"]:
            edits += _named_only(pickle, pid)
            continue
        reference = storage_reference(pid)
        assert isinstance(pid, Tuple)
        number = numbers.setdefault(reference.key, len(numbers))
        first = references.setdefault(reference.key, reference)
        if (first.kind, first.elements) != (reference.kind, reference.elements):
            raise CheckpointError(f"two references to storage `{reference.key}` disagree about its size")
        edits.append(Edit(*pid.span(2), emit.text(str(number))))
        edits += _without_view(pid)
    return references, splice(pickle, edits)


def _without_view(pid: Tuple) -> Iterator[Edit]:
    if len(pid.items) == 6:
        if pid.items[5] is not None:
            hint = "load it with PyTorch before 0.4 and save it again"
            raise CheckpointError("holds views of storages, as PyTorch before 0.4 saved them", hint=hint)
        yield Edit(*pid.span(5), b"")


def _named_only(pickle: Pickle, pid: Tuple) -> Iterator[Edit]:
    """Edits that leave `class` of ("module", class, file, source)."""
    end = pid.starts[-1] + 1
    end += {0x71: 2, 0x72: 5}.get(pickle.data[end], 0)
    if len(pid.items) != 4 or not isinstance(pid.items[1], Global) or pickle.data[end : end + 1] != b"Q":
        raise CheckpointError("a reference to the source of a class is malformed")
    yield Edit(pid.starts[0] - 1, pid.starts[1], b"")
    yield Edit(pid.starts[2], end + 1, b"")


def _records(
    head: _Head, references: dict[str, StorageReference], file: int, size: int
) -> Iterator[tuple[str, Record]]:
    """Where the bytes of each storage lie; CheckpointError if the file does not hold exactly them."""
    if sorted(head.keys) != sorted(references):
        raise CheckpointError("its list of storages does not fit the references to them")
    sizes = [_bytes_of(references[key]) for key in head.keys]
    starts = list(accumulate((_COUNT + length for length in sizes), initial=head.end))
    if starts[-1] > size:
        hint = "the file is truncated or damaged; copy or download it again"
        raise CheckpointError(f"ends before its last storage: {starts[-1]:,} bytes are expected", hint=hint)
    for key, start, length in zip(head.keys, starts, sizes, strict=False):
        count = int.from_bytes(read_bytes(file, start, _COUNT), "little")
        if count != references[key].elements:
            raise CheckpointError(f"storage `{key}` has {count} elements, not {references[key].elements}")
        yield key, Record(f"data/{key}", start, start + _COUNT, length, STORED)


def _bytes_of(reference: StorageReference) -> int:
    if reference.dtype is not None:
        return reference.nbytes
    size = _OTHER_SIZES.get(reference.kind)
    if size is None:
        raise CheckpointError(f"storage `{reference.key}` is a {reference.kind}, whose size is not known")
    return reference.elements * size
