"""The container that torch.save writes since version 1.6: a zip with one pickle and one record per storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import repeat
from pathlib import Path

import numpy as np

from weightmath.checkpoint.description import Checkpoint, PathKey, Place, Stamp
from weightmath.checkpoint.opcodes import read_pickle
from weightmath.checkpoint.passages import Passages
from weightmath.checkpoint.records import Names, Record, Records, read_bytes, read_directory
from weightmath.checkpoint.refusal import program_refusal, zip_refusal
from weightmath.checkpoint.shortcut import read_to_describe
from weightmath.checkpoint.structure import Anatomy, Known, Structure, dissect
from weightmath.checkpoint.zip_layout import ALIGNMENT, LARGEST_ALIGNMENT
from weightmath.errors import CheckpointError
from weightmath.paused import paused_collection

CONTAINER = "torch zip"


@dataclass(frozen=True, eq=False)
class TorchZip:
    """What only this container has: its records, the pickle and its meaning.

    root       the directory inside the zip that holds everything
    records    by their name below the root, in the order of the file; bytes where the file has no such record, but
               torch.save would write it today
    small      contents of the small records that say something about the file: version, byteorder, ...
    """

    root: str
    records: Mapping[str, Record | bytes]
    small: Mapping[str, bytes]
    pickle: bytes
    structure: Structure

    @property
    def alignment(self) -> int:
        """To which multiple the data of records is aligned; torch's own choice where the file does not say."""
        text = self.small.get(".storage_alignment", b"")
        value = int(text) if text.isdigit() else ALIGNMENT
        return value if 0 < value <= LARGEST_ALIGNMENT else ALIGNMENT


def open_torch_zip(path: Path, file: int, stamp: Stamp, start: int = 0, size: int | None = None) -> Checkpoint:
    """The description of a zip checkpoint; CheckpointError if it is another kind of zip, or broken.

    file         an open descriptor, only used during the call
    start, size  where in the file the zip lies, if it is not all of it
    """
    root, records = _below_root(read_directory(file, stamp.size if size is None else size, start))
    small = _small_records(file, records)
    record = records["data.pkl"]
    pickle = read_bytes(file, record.offset, record.size)
    structure = describe(pickle)
    places = _places(structure, records)
    source = TorchZip(root, records, small, pickle, structure)
    form = small.get(".format_version")
    return Checkpoint(
        path=path,
        container=CONTAINER,
        writer=f"PyTorch, format {form.decode(errors='replace')}" if form else "PyTorch",
        files=(path,),
        stamps=(stamp,),
        tensors=structure.tensors,
        places=places,
        tree=structure.tree,
        outlines=structure.outlines,
        source=source,
    )


@dataclass
class _Last:
    """What there is to recognise in the next file: fine-tunes of one model differ in an epoch or a step.

    It stays until the next one is read: half a kilobyte for each tensor.
    """

    names: Names = field(default_factory=Names)
    passages: Passages = field(default_factory=dict)
    mappings: dict[tuple[PathKey, ...], Known] = field(default_factory=dict)

    def known_names(self, records: Records) -> Records:
        """The records, whose names are one object with the last file's where they are equal."""
        if records.names == self.names:
            return replace(records, names=self.names)
        self.names = records.names
        return records


_last = _Last()


@lru_cache(maxsize=4)
def describe(pickle: bytes) -> Structure:
    """The meaning of a pickle. What two of them have in common is one object in both; of equal ones, all."""
    with paused_collection():
        content, _last.passages = read_to_describe(pickle, _last.passages)
        anatomy = dissect(content, _last.mappings)
        _last.mappings = anatomy.known
        return anatomy.structure


def anatomy(pickle: bytes) -> Anatomy:
    """The meaning of a pickle with all the nodes behind it, for edits."""
    with paused_collection():
        return dissect(read_pickle(pickle))


def _places(structure: Structure, records: Records) -> dict[str, Place]:
    """Where the storages lie; CheckpointError if one has no record, or one of another size."""
    storages = list(structure.storages.values())
    try:
        offsets, sizes = records.places([f"data/{key}" for key in structure.storages])
    except KeyError as error:
        raise CheckpointError(f"the record of storage `{error.args[0][len('data/') :]}` is missing") from None
    differ = np.flatnonzero(sizes != [storage.nbytes for storage in storages])
    if differ.size:
        number = int(differ[0])
        key, nbytes = storages[number][:2]
        raise CheckpointError(f"storage `{key}` has {sizes[number]} bytes, not {nbytes}")
    return dict(zip(structure.storages, map(Place, repeat(0), offsets.tolist()), strict=False))


def _below_root(records: Records) -> tuple[str, Records]:
    """The root directory and the records by their name below it; CheckpointError if torch.save did not write them."""
    root = records.names[0].partition("/")[0] if records else ""
    below = _last.known_names(records.below(root))
    if "data.pkl" not in below:
        raise zip_refusal(records.names)
    refused = program_refusal(below.names)
    if refused is not None:
        raise refused
    if len(below) != len(records):
        raise CheckpointError(f"some of its records lie outside `{root}/`")
    compressed = below.not_stored
    if compressed:
        hint = "torch.save does not compress: unpack it and save it again"
        raise CheckpointError(f"record `{compressed[0]}` is compressed", hint=hint)
    return root, below


_SMALL = ("version", "byteorder", ".format_version", ".storage_alignment")


def _small_records(file: int, records: Records) -> dict[str, bytes]:
    present = {name: records[name] for name in _SMALL if name in records}
    small = {name: read_bytes(file, record.offset, min(record.size, 64)) for name, record in present.items()}
    if small.get("byteorder", b"little") != b"little":
        raise CheckpointError("was saved on a big-endian machine", hint="load and save it again on a little-endian one")
    return small
