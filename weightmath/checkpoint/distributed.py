"""What torch.distributed.checkpoint writes: a folder with `.metadata` and one or more `.distcp` files.

The metadata is a pickle, read without running it: for each tensor its shape, dtype and the boxes that it was cut
into; for each box the file and the bytes. Those bytes are a small torch zip of their own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from weightmath.checkpoint.description import (
    Block,
    Checkpoint,
    Opaque,
    Outline,
    PathKey,
    Place,
    Stamp,
    Storage,
    TensorInfo,
    c_stride,
    dotted,
)
from weightmath.checkpoint.distributed_metadata import (
    Index,
    Item,
    Saved,
    Stored,
    is_object,
    read_metadata,
    stored_tensor,
)
from weightmath.checkpoint.mosaic import are_a_tensor
from weightmath.checkpoint.nodes import Value
from weightmath.checkpoint.records import Record
from weightmath.checkpoint.torch_zip import open_torch_zip
from weightmath.dtypes import DType
from weightmath.errors import CheckpointError, at, counted
from weightmath.layout import Entry
from weightmath.paused import paused_collection

CONTAINER = "torch distributed"
_MODULE = b"torch.distributed.checkpoint.metadata"
_LONGEST_OBJECT = 1 << 20  # of what is no tensor, only this much is looked into


class Parts(NamedTuple):
    """What only this container has: number of a file, name of a tensor, and the record of each of its parts."""

    records: tuple[tuple[int, str, Record], ...]


def is_distributed(head: bytes) -> bool:
    """Whether a file that begins with these bytes is the metadata of such a folder."""
    return _MODULE in head


def open_distributed(path: Path, content: bytes) -> Checkpoint:
    """The description of the checkpoint whose metadata this is; CheckpointError if it does not fit its files.

    path   of the metadata
    """
    with paused_collection(), ExitStack() as stack:
        saved = read_metadata(content)
        files = _Files(path.parent, stack)
        found = _Found()
        for name, value in saved.entries:
            try:
                _add(found, files, name, value, saved)
            except CheckpointError as error:
                raise at(name, error) from None
    return Checkpoint(
        path=path,
        container=CONTAINER,
        writer=counted(len(files.paths), "file"),
        files=tuple(files.paths),
        stamps=tuple(files.stamps),
        tensors=tuple(found.tensors),
        places=found.places,
        tree=found.tree,
        outlines=found.outlines(),
        source=Parts(tuple(files.records)),
        blocks=found.blocks,
    )


class _Found:
    """The checkpoint as far as it has been read."""

    def __init__(self) -> None:
        self.tensors: list[TensorInfo] = []
        self.places: dict[str, Place] = {}
        self.blocks: dict[str, tuple[Block, ...]] = {}
        self.tree: dict[PathKey, object] = {}

    def hang(self, path: tuple[PathKey, ...], value: object) -> None:
        """Put a value into the tree."""
        inner = self.tree
        for key in path[:-1]:
            deeper = inner.setdefault(key, {})
            if not isinstance(deeper, dict):
                raise CheckpointError(f"both `{key}` and something inside it are stored")
            inner = deeper
        inner[path[-1]] = value

    def outlines(self) -> tuple[Outline, ...]:
        """Sections: the tensors that hang at one place."""
        groups: dict[tuple[PathKey, ...], dict[str, TensorInfo]] = {}
        for tensor in self.tensors:
            groups.setdefault(tensor.path[:-1], {})[tensor.entry.name] = tensor
        return tuple((dotted(path), tensors, False) for path, tensors in groups.items())


class _Files:
    """The files of a folder, opened as they are needed."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._numbers: dict[str, int] = {}
        self._open: list[int] = []
        self.paths: list[Path] = []
        self.records: list[tuple[int, str, Record]] = []
        self.stamps: list[Stamp] = []

    def get(self, name: str) -> tuple[int, int]:
        """The number of a file, and its open descriptor."""
        number = self._numbers.get(name)
        if number is None:
            if name in (".", "..") or name != Path(name).name:
                raise CheckpointError(f"the metadata names the file `{name}`, which is no file beside it")
            path = self._folder / name
            try:
                file = os.open(path, os.O_RDONLY)
            except OSError as error:
                hint = "all files of the folder are needed"
                raise CheckpointError(f"`{name}` cannot be read: {error.strerror}", hint=hint) from None
            self._stack.callback(os.close, file)
            number = self._numbers[name] = len(self.paths)
            self._open.append(file)
            self.paths.append(path)
            self.stamps.append(Stamp.of(os.fstat(file)))
        return number, self._open[number]

    def open(self, item: Item) -> tuple[int, Checkpoint]:
        """The number of a file, and what some of its bytes are: torch saves everything as a checkpoint of its own."""
        number, file = self.get(item.file)
        stamp = self.stamps[number]
        if item.offset + item.size > stamp.size:
            raise CheckpointError(f"`{item.file}` ends before a part of it")
        return number, open_torch_zip(self.paths[number], file, stamp, item.offset, item.size)

    def place(self, name: str, item: Item, dtype: DType, shape: tuple[int, ...]) -> Place:
        """Where the elements of a stored tensor lie; CheckpointError if it is not what the metadata says."""
        number, checkpoint = self.open(item)
        tensor = checkpoint.tree
        if not isinstance(tensor, TensorInfo) or not tensor.contiguous:
            raise CheckpointError("a part of it is no plain tensor")
        if (tensor.entry.dtype, tensor.entry.shape) != (dtype, shape):
            raise CheckpointError(f"a part of it is {tensor.entry.dtype} {tensor.entry.shape}, not {dtype} {shape}")
        self.records.append((number, name, checkpoint.source.records[f"data/{tensor.storage.key}"]))
        return Place(number, checkpoint.places[tensor.storage.key].offset + tensor.first_byte)

    def content(self, item: Item) -> object:
        """What a stored object says of itself, for showing."""
        if item.size > _LONGEST_OBJECT:
            return Opaque(f"an object of {item.size:,} bytes")
        return self.open(item)[1].tree


def _add(found: _Found, files: _Files, name: str, value: Value, saved: Saved) -> None:
    """Note an entry of the metadata."""
    path = saved.paths.get(name, (name,))
    if is_object(value):
        item = saved.items.get((name, None))
        found.hang(path, Opaque("nothing that is stored") if item is None else files.content(item))
        return
    stored = stored_tensor(value)
    entry = Entry(str(path[-1]), stored.shape, stored.dtype)
    blocks = tuple(_blocks(name, stored, files, saved.items))
    if not are_a_tensor(blocks, stored.shape):
        raise CheckpointError("its parts do not make up the whole tensor")
    if len(blocks) == 1:
        found.places[name] = blocks[0].place
    else:
        found.blocks[name] = blocks
    storage = Storage(name, entry.nbytes, "cpu")
    tensor = TensorInfo(entry, path, storage, 0, c_stride(entry.shape), True, len(found.tensors))
    found.tensors.append(tensor)
    found.hang(path, tensor)


def _blocks(name: str, stored: Stored, files: _Files, items: Mapping[Index, Item]) -> Iterator[Block]:
    for start, shape in stored.boxes:
        item = items.get((name, start))
        if item is None:
            raise CheckpointError(f"the part of it at {start} is stored nowhere")
        yield Block(files.place(name, item, stored.dtype, shape), start, shape)
