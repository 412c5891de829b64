"""What torch.distributed.checkpoint writes: a folder with `.metadata` and one or more `.distcp` files.

The metadata is a pickle, read without running it: for each tensor its shape, dtype and the boxes that it was cut
into; for each box the file and the bytes. Those bytes are a small torch zip of their own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeGuard

from weightmath.checkpoint.description import (
    Block,
    Checkpoint,
    Opaque,
    PathKey,
    Place,
    Stamp,
    Storage,
    TensorInfo,
    c_stride,
    dotted,
)
from weightmath.checkpoint.mosaic import are_a_tensor
from weightmath.checkpoint.nodes import Call, Dict, Global, List, Tuple, Value
from weightmath.checkpoint.opcodes import read_pickle
from weightmath.checkpoint.paused import paused_collection
from weightmath.checkpoint.records import Record
from weightmath.checkpoint.torch_zip import open_torch_zip
from weightmath.dtypes import DTYPES, DType
from weightmath.errors import CheckpointError, at
from weightmath.layout import Entry

CONTAINER = "torch distributed"
_MODULE = b"torch.distributed.checkpoint.metadata"
_LONGEST_OBJECT = 1 << 20  # of what is no tensor, only this much is looked into


_Index: TypeAlias = "tuple[Value, tuple[int, ...] | None]"


class Parts(NamedTuple):
    """What only this container has: number of a file, name of a tensor, and the record of each of its parts."""

    records: tuple[tuple[int, str, Record], ...]


class _Item(NamedTuple):
    """Bytes of one of the files."""

    file: str
    offset: int
    size: int


class _Stored(NamedTuple):
    """A tensor as the metadata describes it."""

    dtype: DType
    shape: tuple[int, ...]
    requires_grad: bool
    boxes: list[tuple[tuple[int, ...], tuple[int, ...]]]


def is_distributed(head: bytes) -> bool:
    """Whether a file that begins with these bytes is the metadata of such a folder."""
    return _MODULE in head


def open_distributed(path: Path, content: bytes) -> Checkpoint:
    """The description of the checkpoint whose metadata this is; CheckpointError if it does not fit its files.

    path   of the metadata
    """
    with paused_collection(), ExitStack() as stack:
        fields = _fields(read_pickle(content).root, "Metadata")
        items = dict(_items(fields.get("storage_data")))
        paths = dict(_paths(fields.get("planner_data")))
        files = _Files(path.parent, stack)
        found = _Found()
        for name, value in _pairs(fields.get("state_dict_metadata")):
            if not isinstance(name, str):
                raise _malformed("a name")
            try:
                _add(found, files, name, value, paths.get(name, (name,)), items)
            except CheckpointError as error:
                raise at(name, error) from None
    return Checkpoint(
        path=path,
        container=CONTAINER,
        writer=f"{len(files.paths)} file{'s' * (len(files.paths) != 1)}",
        files=tuple(files.paths),
        stamps=tuple(files.stamps),
        tensors=tuple(found.tensors),
        places=found.places,
        tree=found.tree,
        drafts=found.drafts(),
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

    def drafts(self) -> tuple[tuple[str, dict[str, TensorInfo], bool], ...]:
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

    def open(self, item: _Item) -> tuple[int, Checkpoint]:
        """The number of a file, and what some of its bytes are: torch saves everything as a checkpoint of its own."""
        number, file = self.get(item.file)
        stamp = self.stamps[number]
        if item.offset + item.size > stamp.size:
            raise CheckpointError(f"`{item.file}` ends before a part of it")
        return number, open_torch_zip(self.paths[number], file, stamp, item.offset, item.size)

    def place(self, name: str, item: _Item, dtype: DType, shape: tuple[int, ...]) -> Place:
        """Where the elements of a stored tensor lie; CheckpointError if it is not what the metadata says."""
        number, checkpoint = self.open(item)
        tensor = checkpoint.tree
        if not isinstance(tensor, TensorInfo) or not tensor.contiguous:
            raise CheckpointError("a part of it is no plain tensor")
        if (tensor.entry.dtype, tensor.entry.shape) != (dtype, shape):
            raise CheckpointError(f"a part of it is {tensor.entry.dtype} {tensor.entry.shape}, not {dtype} {shape}")
        self.records.append((number, name, checkpoint.source.records[f"data/{tensor.storage.key}"]))
        return Place(number, checkpoint.places[tensor.storage.key].offset + tensor.first_byte)

    def content(self, item: _Item) -> object:
        """What a stored object says of itself, for showing."""
        if item.size > _LONGEST_OBJECT:
            return Opaque(f"an object of {item.size:,} bytes")
        return self.open(item)[1].tree


def _add(
    found: _Found, files: _Files, name: str, value: Value, path: tuple[PathKey, ...], items: Mapping[_Index, _Item]
) -> None:
    """Note an entry of the metadata."""
    if _class_of(value) == "BytesStorageMetadata":
        item = items.get((name, None))
        found.hang(path, Opaque("nothing that is stored") if item is None else files.content(item))
        return
    stored = _stored(value)
    entry = Entry(str(path[-1]), stored.shape, stored.dtype)
    blocks = tuple(_blocks(name, stored, files, items))
    if not are_a_tensor(blocks, stored.shape):
        raise CheckpointError("its parts do not make up the whole tensor")
    if len(blocks) == 1:
        found.places[name] = blocks[0].place
    else:
        found.blocks[name] = blocks
    storage = Storage(name, entry.nbytes, "cpu")
    tensor = TensorInfo(
        entry, path, storage, 0, c_stride(entry.shape), True, stored.requires_grad, False, len(found.tensors)
    )
    found.tensors.append(tensor)
    found.hang(path, tensor)


def _blocks(name: str, stored: _Stored, files: _Files, items: Mapping[_Index, _Item]) -> Iterator[Block]:
    for start, shape in stored.boxes:
        item = items.get((name, start))
        if item is None:
            raise CheckpointError(f"the part of it at {start} is stored nowhere")
        yield Block(files.place(name, item, stored.dtype, shape), start, shape)


def _stored(value: Value) -> _Stored:
    fields = _fields(value, "TensorStorageMetadata")
    properties = _properties(fields.get("properties"))
    chunks = fields.get("chunks")
    boxes = [_fields(chunk, "ChunkStorageMetadata") for chunk in (chunks.items if isinstance(chunks, List) else [])]
    dtype = properties[0]
    known = DTYPES.get(dtype.name) if isinstance(dtype, Global) and dtype.module == "torch" else None
    if known is None:
        raise CheckpointError(f"has dtype {dtype}, which weightmath does not know")
    return _Stored(
        known,
        _size(fields.get("size")),
        properties[2] is True,
        [(_size(box.get("offsets")), _size(box.get("sizes"))) for box in boxes],
    )


def _properties(value: Value) -> list[Value]:
    """Dtype, layout, whether it needs a gradient, and more."""
    state = value.states[0] if isinstance(value, Call) and value.states else None
    if not isinstance(state, Tuple) or len(state.items) < 3:
        raise _malformed("the properties of a tensor")
    return state.items


def _items(value: Value) -> Iterator[tuple[_Index, _Item]]:
    """Where each part of each tensor is stored: by its name and first index, None for objects."""
    for key, place in _pairs(value):
        index, info = _fields(key, "MetadataIndex"), _fields(place, "_StorageInfo")
        name, start = index.get("fqn"), index.get("offset")
        file, offset, size = (info.get(field) for field in ("relative_path", "offset", "length"))
        if not (isinstance(name, str) and isinstance(file, str) and _is_count(offset) and _is_count(size)):
            raise _malformed("the place of a part")
        if getattr(info.get("transform_descriptors"), "items", None):
            raise CheckpointError("is compressed or encrypted", hint="save it again without stream transforms")
        yield (name, None if start is None else _size(start)), _Item(file, offset, size)


def _paths(value: Value) -> Iterator[tuple[str, tuple[PathKey, ...]]]:
    """Where flattened names hung in the state that was saved."""
    for name, path in _pairs(value) if isinstance(value, Dict) else ():
        keys = path.items if isinstance(path, Tuple) else []
        if isinstance(name, str) and keys and all(isinstance(key, (str, int)) for key in keys):
            yield name, tuple(key for key in keys if isinstance(key, (str, int)))


def _pairs(value: Value) -> Iterator[tuple[Value, Value]]:
    if not isinstance(value, Dict):
        raise _malformed("the metadata")
    return ((pair[0], pair[1]) for pair in value.pairs)


def _fields(value: Value, name: str) -> dict[str, Value]:
    """The attributes of an object of a class of that name."""
    if _class_of(value) != name or not isinstance(value, Call):
        raise _malformed(f"a {name}")
    states = [state.items for state in value.states if isinstance(state, Tuple)]
    dicts = [
        state for state in (*value.states, *(item for items in states for item in items)) if isinstance(state, Dict)
    ]
    return {key: content for state in dicts for key, content, _, _ in state.pairs if isinstance(key, str)}


def _class_of(value: Value) -> str | None:
    function = value.function if isinstance(value, Call) else None
    return function.name if isinstance(function, Global) else None


def _size(value: Value) -> tuple[int, ...]:
    """The numbers of a `torch.Size`."""
    arguments = value.arguments if isinstance(value, Call) and str(value.function) == "torch.Size" else None
    inner = arguments.items[0] if isinstance(arguments, Tuple) and arguments.items else None
    items = inner.items if isinstance(inner, (Tuple, List)) else [None]
    numbers = tuple(item for item in items if _is_count(item))
    if len(numbers) != len(items):
        raise _malformed("a size")
    return numbers


def _is_count(value: Value) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 1 << 63


def _malformed(what: str) -> CheckpointError:
    return CheckpointError(f"broken metadata: {what} is malformed")
