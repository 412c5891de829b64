"""How torch writes a tensor into a pickle: the calls that rebuild one, and the reference to its storage.

    _rebuild_tensor_v2(storage, offset, shape, stride, requires_grad, hooks[, metadata])
    _rebuild_tensor_v3(storage, offset, shape, stride, requires_grad, hooks, dtype[, metadata])
    _rebuild_parameter(tensor, requires_grad, hooks)
    storage = ("storage", torch.FloatStorage, key, device, elements)

The first form has its dtype in the class of the storage; the second, for types that have no such class, refers
to an UntypedStorage (elements are bytes) and names the dtype itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, TypeGuard

from weightmath.checkpoint.nodes import Call, Global, Persistent, Tuple, Value
from weightmath.dtypes import DTYPES, DType
from weightmath.errors import CheckpointError

STORAGE_CLASSES = {dtype.storage: dtype for dtype in DTYPES.values() if dtype.storage}
UNTYPED = "UntypedStorage"
V1, V2, V3 = "_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"
_PARAMETERS = ("_rebuild_parameter", "_rebuild_parameter_with_state")
_PLAIN_TYPES = ("torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer")


class StorageReference(NamedTuple):
    """A storage as the pickle refers to it.

    kind    name of its class: FloatStorage, UntypedStorage (whose elements are bytes), QInt8Storage
    dtype   what that class holds; None for UntypedStorage and for classes that we do not know
    """

    key: str
    kind: str
    dtype: DType | None
    device: str
    elements: int

    @property
    def nbytes(self) -> int:
        """Bytes of the storage."""
        return self.elements * (self.dtype.itemsize if self.dtype else 1)


@dataclass(frozen=True, slots=True)
class Rebuild:
    """A tensor as the pickle rebuilds it.

    function    span of the bytes that name the rebuild function
    version     that function: V1, V2 or V3
    arguments   its arguments, with their spans
    """

    function: tuple[int, int]
    version: str
    arguments: Tuple
    reference: Persistent
    storage: StorageReference
    dtype: DType
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    requires_grad: bool
    is_parameter: bool


def storage_reference(pid: Value) -> StorageReference:
    """The storage that a persistent id refers to; CheckpointError if it refers to something else."""
    if not isinstance(pid, Tuple) or len(pid.items) not in (5, 6) or pid.items[0] != "storage":
        raise CheckpointError("a persistent reference is not to a storage")
    kind, key, device, elements = pid.items[1:5]
    if not (isinstance(kind, Global) and isinstance(key, str) and isinstance(device, str) and _is_count(elements)):
        raise CheckpointError("a reference to a storage is malformed")
    dtype = STORAGE_CLASSES.get(kind.name) if kind.module in ("torch", "torch.cuda") else None
    return StorageReference(key, kind.name, dtype, device, elements)


def rebuilt(call: Call) -> Rebuild | None:
    """The tensor that a call rebuilds; None if it is no plain tensor (sparse, quantized, conjugated, a subclass).

    CheckpointError if it is one, but malformed: wrong types, negative sizes, or elements outside its storage.
    """
    function, arguments = call.function, call.arguments
    if not (isinstance(function, Global) and isinstance(arguments, Tuple)):
        return None
    if function.module == "torch._utils" and function.name in _PARAMETERS:
        return _parameter(arguments)
    return _tensor(call, function, arguments)


def _tensor(call: Call, function: Global, arguments: Tuple) -> Rebuild | None:
    if function.module == "torch._tensor" and function.name == "_rebuild_from_type_v2":
        return _typed(arguments)
    return _plain(function, (call.start, call.middle), arguments)


def _parameter(arguments: Tuple) -> Rebuild | None:
    """`_rebuild_parameter(tensor, requires_grad, hooks)`."""
    inner = arguments.items[0] if len(arguments.items) > 1 else None
    if not (isinstance(inner, Call) and isinstance(inner.function, Global) and isinstance(inner.arguments, Tuple)):
        return None
    tensor = _tensor(inner, inner.function, inner.arguments)
    return tensor and replace(tensor, is_parameter=True, requires_grad=arguments.items[1] is True)


def _typed(arguments: Tuple) -> Rebuild | None:
    """`_rebuild_from_type_v2(function, type, arguments, state)`: a tensor with attributes, or of a subclass."""
    if len(arguments.items) != 4:
        return None
    function, kind, inner, _ = arguments.items
    plain = isinstance(kind, Global) and str(kind) in _PLAIN_TYPES
    if not (plain and isinstance(function, Global) and isinstance(inner, Tuple)):
        return None
    return _plain(function, arguments.span(0), inner)


def _plain(function: Global, span: tuple[int, int], arguments: Tuple) -> Rebuild | None:
    if function.module != "torch._utils" or function.name not in (V1, V2, V3):
        return None
    items = arguments.items
    extra = 7 if function.name == V3 else 6
    if len(items) < (4 if function.name == V1 else extra) or not isinstance(items[0], Persistent):
        raise CheckpointError(f"a call of {function.name} is malformed")
    storage = storage_reference(items[0].pid)
    dtype = _dtype(storage, items[6] if function.name == V3 else None)
    metadata = items[extra] if function.name != V1 and len(items) > extra else None
    if dtype is None or _changes_values(metadata):
        return None
    offset, shape, stride = _geometry(items, storage.nbytes // dtype.itemsize)
    requires_grad = len(items) > 4 and items[4] is True
    return Rebuild(
        span, function.name, arguments, items[0], storage, dtype, offset, shape, stride, requires_grad, False
    )


def _dtype(storage: StorageReference, named: Value) -> DType | None:
    if storage.kind != UNTYPED:
        return storage.dtype if named is None else None
    return DTYPES.get(named.name) if isinstance(named, Global) and named.module == "torch" else None


def _changes_values(metadata: Value) -> bool:
    # The conjugate and negative bits: the elements are not what the bytes say.
    return metadata is not None and bool(getattr(metadata, "pairs", True))


def _geometry(items: list[Value], elements: int) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    offset, shape, stride = items[1], _counts(items[2]), _counts(items[3])
    if not _is_count(offset) or shape is None or stride is None or len(shape) != len(stride):
        raise CheckpointError("a tensor's shape is malformed")
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if last >= elements and 0 not in shape:
        raise CheckpointError(f"a tensor needs {last + 1} elements of a storage that has {elements}")
    return offset, shape, stride


def _counts(value: Value) -> tuple[int, ...] | None:
    items = value.items if isinstance(value, Tuple) else [None]
    return tuple(item for item in items if _is_count(item)) if all(map(_is_count, items)) else None


def _is_count(value: Value) -> TypeGuard[int]:
    return type(value) is int and value >= 0
