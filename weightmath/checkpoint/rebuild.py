"""How torch writes a tensor into a pickle: the calls that rebuild one, and the reference to its storage.

    _rebuild_tensor_v2(storage, offset, shape, stride, requires_grad, hooks[, metadata])
    _rebuild_tensor_v3(storage, offset, shape, stride, requires_grad, hooks, dtype[, metadata])
    _rebuild_parameter(tensor, requires_grad, hooks)
    storage = ("storage", torch.FloatStorage, key, device, elements)

The first form has its dtype in the class of the storage; the second, for types that have no such class, refers
to an UntypedStorage (elements are bytes) and names the dtype itself.
"""

from __future__ import annotations

from typing import NamedTuple

from weightmath.checkpoint.nodes import Call, Dict, Global, Persistent, Tuple, Value, is_count
from weightmath.dtypes import DTYPES, DType
from weightmath.errors import CheckpointError

STORAGE_CLASSES = {dtype.storage: dtype for dtype in DTYPES.values() if dtype.storage}
UNTYPED = "UntypedStorage"
_MOST_DIMENSIONS = 64  # as in torch; a shape that many tensors share could else cost the square of the file's length
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


class Form(NamedTuple):
    """All that a pickle says of a tensor but for the key of its storage: what a hundred thousand have in common.

    nbytes, device   of its storage
    """

    nbytes: int
    device: str
    dtype: DType
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Tensor(NamedTuple):
    """A tensor as the pickle describes it."""

    key: str  # of its storage
    form: Form


class Rebuild(NamedTuple):
    """Where the pickle says so.

    function    span of the bytes that name the rebuild function
    version     that function: V1, V2 or V3
    arguments   its arguments, with their spans
    """

    function: tuple[int, int]
    version: str
    arguments: Tuple


def storage_reference(pid: Value) -> StorageReference:
    """The storage that a persistent id refers to; CheckpointError if it refers to something else."""
    if not isinstance(pid, Tuple) or len(pid.items) not in (5, 6) or pid.items[0] != "storage":
        raise CheckpointError("a persistent reference is not to a storage")
    kind, key, device, elements = pid.items[1:5]
    if not (isinstance(kind, Global) and isinstance(key, str) and isinstance(device, str) and is_count(elements)):
        raise CheckpointError("a reference to a storage is malformed")
    return StorageReference(key, kind.name, storage_dtype(kind), device, elements)


def storage_dtype(kind: Global) -> DType | None:
    """What a storage class holds; None for UntypedStorage and for classes that we do not know."""
    return STORAGE_CLASSES.get(kind.name) if kind.module in ("torch", "torch.cuda") else None


def tensor_of(value: Value) -> Tensor | None:
    """The tensor that a call rebuilds; None if it is no plain tensor (sparse, quantized, conjugated, a subclass).

    CheckpointError if it is one, but malformed: wrong types, negative sizes, or elements outside its storage.
    """
    inner = _unwrapped(value)
    if isinstance(inner, Tensor):
        return inner
    rebuild = rebuild_of(value)
    return rebuild and _tensor(rebuild)


def rebuild_of(value: Value) -> Rebuild | None:
    """How a call rebuilds a tensor or parameter; None if it does not."""
    call = _unwrapped(value)
    if not isinstance(call, Call) or not isinstance(call.arguments, Tuple):
        return None
    function, span, arguments = call.function, (call.start, call.middle), call.arguments
    if _is(function, "torch._tensor", "_rebuild_from_type_v2") and len(arguments.items) == 4:
        # (function, type, arguments, state): a tensor with attributes, or of a subclass.
        function, kind, inner, _ = arguments.items
        if str(kind) not in _PLAIN_TYPES or not isinstance(inner, Tuple):
            return None
        span, arguments = arguments.span(0), inner
    known = isinstance(function, Global) and function.module == "torch._utils" and function.name in (V1, V2, V3)
    return Rebuild(span, function.name, arguments) if known and isinstance(function, Global) else None


def _unwrapped(value: Value) -> Value:
    """The tensor inside `_rebuild_parameter(tensor, requires_grad, hooks)`; what is no such call, as it is."""
    if not (isinstance(value, Call) and isinstance(value.arguments, Tuple) and len(value.arguments.items) > 1):
        return value
    is_parameter = any(_is(value.function, "torch._utils", name) for name in _PARAMETERS)
    return value.arguments.items[0] if is_parameter else value


def _is(function: Value, module: str, name: str) -> bool:
    return isinstance(function, Global) and function.name == name and function.module == module


def _tensor(rebuild: Rebuild) -> Tensor | None:
    version, items = rebuild.version, rebuild.arguments.items
    fixed = {V1: 4, V2: 6, V3: 7}[version]
    if len(items) < fixed or not isinstance(items[0], Persistent):
        raise CheckpointError(f"a call of {version} is malformed")
    storage = storage_reference(items[0].pid)
    dtype = _dtype(storage, items[6] if version == V3 else None)
    metadata = items[fixed] if version != V1 and len(items) > fixed else None
    if dtype is None or _changes_values(metadata):
        return None
    offset, shape, stride = items[1], _counts(items[2]), _counts(items[3])
    if not is_count(offset) or shape is None or stride is None or len(shape) != len(stride):
        raise CheckpointError("a tensor's shape is malformed")
    form = Form(storage.nbytes, storage.device, dtype, offset, shape, stride)
    check_inside(form)
    return Tensor(storage.key, form)


def check_inside(form: Form) -> None:
    """CheckpointError if a tensor has elements outside its storage."""
    elements = form.nbytes // form.dtype.itemsize
    last = form.offset
    for size, step in zip(form.shape, form.stride, strict=True):
        last += (size - 1) * step
    if last >= elements and 0 not in form.shape:
        raise CheckpointError(f"a tensor needs {last + 1} elements of a storage that has {elements}")


def _dtype(storage: StorageReference, named: Value) -> DType | None:
    if storage.kind != UNTYPED:
        return storage.dtype if named is None else None
    return DTYPES.get(named.name) if isinstance(named, Global) and named.module == "torch" else None


def _changes_values(metadata: Value) -> bool:
    # The conjugate and negative bits: the elements are not what the bytes say.
    return metadata is not None and not (isinstance(metadata, Dict) and not metadata.pairs)


def _counts(value: Value) -> tuple[int, ...] | None:
    items = value.items if isinstance(value, Tuple) and len(value.items) <= _MOST_DIMENSIONS else [None]
    return tuple(item for item in items if is_count(item)) if all(map(is_count, items)) else None
