"""The container that torch.save writes since version 1.6: a zip with one pickle and one record per storage."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from weightmath.checkpoint.description import Checkpoint, Stamp, Storage
from weightmath.checkpoint.opcodes import Pickle, read_pickle
from weightmath.checkpoint.rebuild import StorageReference
from weightmath.checkpoint.records import STORED, Record, read_bytes, read_directory
from weightmath.checkpoint.structure import Structure, structure_of
from weightmath.checkpoint.zip_layout import ALIGNMENT, LARGEST_ALIGNMENT
from weightmath.errors import CheckpointError

CONTAINER = "torch zip"


@dataclass(frozen=True, eq=False)
class TorchZip:
    """What only this container has: its records, the pickle and its meaning.

    root     the directory inside the zip that holds everything
    small    contents of the small records that say something about the file: version, byteorder, ...
    """

    root: str
    records: tuple[Record, ...]
    small: dict[str, bytes]
    pickle: bytes
    structure: Structure

    @cached_property
    def by_name(self) -> dict[str, Record]:
        """Records by their name below the root."""
        return {record.name[len(self.root) + 1 :]: record for record in self.records}

    @property
    def alignment(self) -> int:
        """To which multiple the data of records is aligned; torch's own choice where the file does not say."""
        text = self.small.get(".storage_alignment", b"")
        value = int(text) if text.isdigit() else ALIGNMENT
        return value if 0 < value <= LARGEST_ALIGNMENT else ALIGNMENT


def open_torch_zip(path: Path, file: int, stamp: Stamp) -> Checkpoint:
    """The description of a zip checkpoint; CheckpointError if it is another kind of zip, or broken.

    file   an open descriptor, only used during the call
    """
    records = read_directory(file, stamp.size)
    root = _root(records)
    small = _small_records(file, root, records)
    record = _stored(root, records)["data.pkl"]
    pickle = read_bytes(file, record.offset, record.size)
    structure = describe(pickle, root, records)
    source = TorchZip(root, records, small, pickle, structure)
    form = small.get(".format_version")
    return Checkpoint(
        path=path,
        container=CONTAINER,
        writer=f"PyTorch, format {form.decode()}" if form else "PyTorch",
        files=(path,),
        stamps=(stamp,),
        tensors=structure.tensors,
        tree=structure.tree,
        drafts=structure.drafts,
        source=source,
    )


@lru_cache(maxsize=4)
def parse(pickle: bytes) -> Pickle:
    """The inert content of a pickle. Fine-tunes of one model have equal pickles, so the last few are kept."""
    return read_pickle(pickle)


@lru_cache(maxsize=4)
def describe(pickle: bytes, root: str, records: tuple[Record, ...]) -> Structure:
    """The meaning of a pickle whose storages are these records."""
    stored = _stored(root, records)

    def locate(reference: StorageReference) -> Storage:
        record = stored.get(f"data/{reference.key}")
        if record is None:
            raise CheckpointError(f"the record of storage `{reference.key}` is missing")
        if record.size != reference.nbytes:
            raise CheckpointError(f"storage `{reference.key}` has {record.size} bytes, not {reference.nbytes}")
        return Storage(reference.key, 0, record.offset, record.size, reference.device)

    return structure_of(parse(pickle), locate)


def _root(records: tuple[Record, ...]) -> str:
    root = records[0].name.partition("/")[0] if records else ""
    names = {record.name for record in records}
    if f"{root}/data.pkl" not in names:
        raise CheckpointError("is a zip file, but not one that torch.save wrote", hint="it has no `data.pkl`")
    if f"{root}/constants.pkl" in names or any(name.startswith(f"{root}/code/") for name in names):
        raise CheckpointError(
            "is TorchScript (torch.jit.save): a program, not a checkpoint",
            hint="save its weights: torch.save(torch.jit.load(path).state_dict(), 'weights.ckpt')",
        )
    return root


def _stored(root: str, records: tuple[Record, ...]) -> dict[str, Record]:
    """Records by their name below the root; CheckpointError if one is compressed or lies elsewhere."""
    stored = {}
    for record in records:
        if record.method != STORED:
            raise CheckpointError(
                f"record `{record.name}` is compressed",
                hint="torch.save does not compress: unpack it and save it again",
            )
        if not record.name.startswith(f"{root}/"):
            raise CheckpointError(f"record `{record.name}` lies outside `{root}/`")
        stored[record.name[len(root) + 1 :]] = record
    return stored


_SMALL = ("version", "byteorder", ".format_version", ".storage_alignment")


def _small_records(file: int, root: str, records: tuple[Record, ...]) -> dict[str, bytes]:
    stored = _stored(root, records)
    present = {name: stored[name] for name in _SMALL if name in stored}
    small = {name: read_bytes(file, record.offset, min(record.size, 64)) for name, record in present.items()}
    if small.get("byteorder", b"little") != b"little":
        raise CheckpointError("was saved on a big-endian machine", hint="load and save it again on a little-endian one")
    return small
