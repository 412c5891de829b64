"""The metadata of a distributed checkpoint, from the inert nodes of its pickle to plain values.

Metadata(state_dict_metadata={name: TensorStorageMetadata(properties, size, chunks) or BytesStorageMetadata},
storage_data={MetadataIndex(fqn, offset): _StorageInfo(relative_path, offset, length)},
planner_data={name: path in the state that was saved})
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from weightmath.checkpoint.description import PathKey
from weightmath.checkpoint.nodes import Call, Dict, Global, List, Tuple, Value, is_count
from weightmath.checkpoint.opcodes import read_pickle
from weightmath.dtypes import DTYPES, DType
from weightmath.errors import CheckpointError

Index: TypeAlias = "tuple[Value, tuple[int, ...] | None]"


class Item(NamedTuple):
    """Bytes of one of the files."""

    file: str
    offset: int
    size: int


class Stored(NamedTuple):
    """A tensor as the metadata describes it."""

    dtype: DType
    shape: tuple[int, ...]
    boxes: list[tuple[tuple[int, ...], tuple[int, ...]]]


class Saved(NamedTuple):
    """What the metadata says.

    entries  every name, and what describes it
    items    where each part of each tensor is stored: by its name and first index, None for objects
    paths    where names hung in the state that was saved
    """

    entries: list[tuple[str, Value]]
    items: dict[Index, Item]
    paths: dict[str, tuple[PathKey, ...]]


def read_metadata(content: bytes) -> Saved:
    """What a `.metadata` file says; CheckpointError where it is malformed."""
    fields = _fields(read_pickle(content).root, "Metadata")
    every = list(_pairs(fields.get("state_dict_metadata")))
    entries = [(name, value) for name, value in every if isinstance(name, str)]
    if len(entries) != len(every):
        raise _malformed("a name")
    return Saved(entries, dict(_items(fields.get("storage_data"))), dict(_paths(fields.get("planner_data"))))


def is_object(value: Value) -> bool:
    """Whether an entry is something else than a tensor."""
    return _class_of(value) == "BytesStorageMetadata"


def stored_tensor(value: Value) -> Stored:
    """A tensor's entry; CheckpointError where it is malformed, or of a dtype that is not known."""
    fields = _fields(value, "TensorStorageMetadata")
    dtype = _dtype(fields.get("properties"))
    chunks = fields.get("chunks")
    boxes = [_fields(chunk, "ChunkStorageMetadata") for chunk in (chunks.items if isinstance(chunks, List) else [])]
    known = DTYPES.get(dtype.name) if isinstance(dtype, Global) and dtype.module == "torch" else None
    if known is None:
        raise CheckpointError(f"has dtype {dtype}, which weightmath does not know")
    return Stored(
        known,
        _size(fields.get("size")),
        [(_size(box.get("offsets")), _size(box.get("sizes"))) for box in boxes],
    )


def _dtype(value: Value) -> Value:
    """The first of a tensor's properties."""
    state = value.states[0] if isinstance(value, Call) and value.states else None
    if not isinstance(state, Tuple) or not state.items:
        raise _malformed("the properties of a tensor")
    return state.items[0]


def _items(value: Value) -> Iterator[tuple[Index, Item]]:
    for key, place in _pairs(value):
        index, info = _fields(key, "MetadataIndex"), _fields(place, "_StorageInfo")
        name, start = index.get("fqn"), index.get("offset")
        file, offset, size = (info.get(field) for field in ("relative_path", "offset", "length"))
        if not (isinstance(name, str) and isinstance(file, str) and is_count(offset) and is_count(size)):
            raise _malformed("the place of a part")
        if getattr(info.get("transform_descriptors"), "items", None):
            raise CheckpointError("is compressed or encrypted", hint="save it again without stream transforms")
        yield (name, None if start is None else _size(start)), Item(file, offset, size)


def _paths(value: Value) -> Iterator[tuple[str, tuple[PathKey, ...]]]:
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
    numbers = tuple(item for item in items if is_count(item))
    if len(numbers) != len(items):
        raise _malformed("a size")
    return numbers


def _malformed(what: str) -> CheckpointError:
    return CheckpointError(f"broken metadata: {what} is malformed")
