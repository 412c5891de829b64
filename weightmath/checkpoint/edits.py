"""Which bytes of a torch pickle say the dtype and the device of a storage."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from weightmath.checkpoint import emit
from weightmath.checkpoint.machine import Pickle
from weightmath.checkpoint.nodes import Tuple
from weightmath.checkpoint.rebuild import UNTYPED, V1, V2, V3, Rebuild, rebuild_of, storage_reference
from weightmath.checkpoint.splice import Edit, explicit_memo
from weightmath.checkpoint.structure import Anatomy
from weightmath.checkpoint.torch_zip import anatomy
from weightmath.dtypes import DType
from weightmath.errors import OutputError


class Retype(NamedTuple):
    """A storage of that many elements gets another dtype."""

    new: DType
    elements: int


def editable(pickle: bytes) -> Anatomy:
    """The anatomy of a pickle in the form that can be edited: with explicit memo numbers."""
    whole = anatomy(pickle)
    explicit = explicit_memo(whole.pickle)
    return whole if explicit == pickle else anatomy(explicit)


def retype(whole: Anatomy, retypes: Mapping[str, Retype]) -> Iterator[Edit]:
    """Edits that give storages, by their keys, another dtype.

    Every reference to such a storage is edited, since torch believes the first that it meets. Types without a
    storage class (float8) need another rebuild function, which names the dtype, and a size in bytes.
    """
    for pid, key in _references(whole.pickle):
        if key in retypes:
            yield from _retype_reference(pid, retypes[key])
    for tensor, node in zip(whole.structure.tensors, whole.nodes, strict=True):
        to = retypes.get(tensor.storage.key)
        rebuild = rebuild_of(node) if to else None
        if to and rebuild:
            yield from _retype_tensor(rebuild, to.new)


def move_to_cpu(pickle: Pickle, keys: Collection[str]) -> Iterator[Edit]:
    """Edits that make torch.load put these storages on the CPU."""
    for pid, key in _references(pickle):
        if key in keys and pid.items[3] != "cpu":
            yield Edit(*pid.span(3), emit.text("cpu"))


def _references(pickle: Pickle) -> Iterator[tuple[Tuple, str]]:
    for pid in pickle.pids:
        if isinstance(pid, Tuple):
            yield pid, storage_reference(pid).key


def _retype_reference(pid: Tuple, to: Retype) -> Iterator[Edit]:
    if to.new.storage:
        yield Edit(*pid.span(1), emit.name("torch", to.new.storage))
    else:
        yield Edit(*pid.span(1), emit.name("torch.storage", UNTYPED))
    size = to.elements if to.new.storage else to.elements * to.new.itemsize
    if size != pid.items[4]:
        yield Edit(*pid.span(4), emit.count(size))


def _retype_tensor(rebuild: Rebuild, new: DType) -> Iterator[Edit]:
    arguments, named = rebuild.arguments, emit.name("torch", new.name)
    if rebuild.version == V1 and not new.storage:
        raise OutputError(
            f"a tensor in the form of torch 0.1 cannot become {new}", hint="save it again with torch.save"
        )
    if rebuild.version == V3 and new.storage:
        yield Edit(*rebuild.function, emit.name("torch._utils", V2))
        yield Edit(*arguments.span(6), b"")
    elif rebuild.version == V3:
        yield Edit(*arguments.span(6), named)
    elif not new.storage:
        yield Edit(*rebuild.function, emit.name("torch._utils", V3))
        yield Edit(arguments.starts[6], arguments.starts[6], named)
