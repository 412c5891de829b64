"""Which bytes of a torch pickle say a storage's dtype and device, and which say that an entry exists."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from weightmath.checkpoint.description import PathKey, dotted
from weightmath.checkpoint.nodes import Tuple
from weightmath.checkpoint.opcodes import Pickle
from weightmath.checkpoint.rebuild import UNTYPED, V1, V2, V3, Rebuild, storage_reference
from weightmath.checkpoint.splice import Edit
from weightmath.checkpoint.structure import Mapping as Holder
from weightmath.dtypes import DType
from weightmath.errors import OutputError, nearest
from weightmath.layout import Patterns


class Retype(NamedTuple):
    """A storage of that many elements gets another dtype."""

    new: DType
    elements: int


def retype(pickle: Pickle, rebuilds: Iterable[Rebuild], retypes: Mapping[str, Retype]) -> Iterator[Edit]:
    """Edits that give storages, by their keys, another dtype.

    Every reference to such a storage is edited, since torch believes the first that it meets. Types without a
    storage class (float8) need another rebuild function, which names the dtype, and a size in bytes.
    """
    for pid, key in _references(pickle):
        if key in retypes:
            yield from _retype_reference(pid, retypes[key])
    for rebuild in rebuilds:
        if rebuild.storage.key in retypes:
            yield from _retype_tensor(rebuild, retypes[rebuild.storage.key].new)


def move_to_cpu(pickle: Pickle, keys: Collection[str]) -> Iterator[Edit]:
    """Edits that make torch.load put these storages on the CPU."""
    for pid, key in _references(pickle):
        if key in keys and pid.items[3] != "cpu":
            yield Edit(*pid.span(3), _text("cpu"))


def _references(pickle: Pickle) -> Iterator[tuple[Tuple, str]]:
    for persistent in pickle.persistent:
        if isinstance(persistent.pid, Tuple):
            yield persistent.pid, storage_reference(persistent.pid).key


def _retype_reference(pid: Tuple, to: Retype) -> Iterator[Edit]:
    if to.new.storage:
        yield Edit(*pid.span(1), _global("torch", to.new.storage))
    else:
        yield Edit(*pid.span(1), _global("torch.storage", UNTYPED))
    size = to.elements if to.new.storage else to.elements * to.new.itemsize
    if size != pid.items[4]:
        yield Edit(*pid.span(4), _count(size))


def _retype_tensor(rebuild: Rebuild, new: DType) -> Iterator[Edit]:
    arguments, named = rebuild.arguments, _global("torch", new.name)
    if rebuild.version == V1 and not new.storage:
        raise OutputError(
            f"a tensor in the form of torch 0.1 cannot become {new}", hint="save it again with torch.save"
        )
    if rebuild.version == V3 and new.storage:
        yield Edit(*rebuild.function, _global("torch._utils", V2))
        yield Edit(*arguments.span(6), b"")
    elif rebuild.version == V3:
        yield Edit(*arguments.span(6), named)
    elif not new.storage:
        yield Edit(*rebuild.function, _global("torch._utils", V3))
        yield Edit(arguments.starts[6], arguments.starts[6], named)


def drop_matching(holders: Sequence[Holder], patterns: Sequence[str], kept: tuple[PathKey, ...]) -> Iterator[Edit]:
    """Edits that leave out the entries of mappings whose dotted paths match.

    kept    path of the section that is merged: neither it nor what holds it can be dropped
    Fails   OutputError if a pattern matches nothing, or the section
    """
    compiled = Patterns(patterns)
    used: set[int] = set()
    for holder in holders:
        for key, pair in zip(holder.keys, holder.pairs, strict=True):
            path = (*holder.path, key)
            number = compiled.first(dotted(path))
            if number is None:
                continue
            used.add(number)
            if path == kept[: len(path)]:
                raise OutputError(
                    f"`drop: {patterns[number]}` matches `{dotted(path)}`, which holds the merged tensors"
                )
            yield _drop(pair[2], pair[3], dotted(path))
    for number, pattern in enumerate(patterns):
        # An earlier pattern may have taken what this one matches as well.
        alone = Patterns([pattern])
        if number not in used and not any(map(alone.matches, _entries(holders))):
            hint = nearest(pattern, _entries(holders)) or "`weightmath inspect` shows what there is"
            raise OutputError(f"`drop: {pattern}` matches nothing in the template", hint=hint)


def drop_beside(holders: Sequence[Holder], kept: tuple[PathKey, ...]) -> Iterator[Edit]:
    """Edits that leave out everything beside the section at this path and what holds it."""
    for holder in holders:
        depth = len(holder.path)
        if depth < len(kept) and holder.path == kept[:depth]:
            for key, pair in zip(holder.keys, holder.pairs, strict=True):
                if key != kept[depth]:
                    yield _drop(pair[2], pair[3], dotted((*holder.path, key)))


def _entries(holders: Sequence[Holder]) -> Iterator[str]:
    return (dotted((*holder.path, key)) for holder in holders for key in holder.keys)


def _drop(start: int, stop: int, name: str) -> Edit:
    if start == stop:
        raise OutputError(f"`{name}` cannot be dropped: it was saved by Python 2", hint="save it again with torch.save")
    return Edit(start, stop, b"")


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _text(text: str) -> bytes:
    return b"X" + len(text).to_bytes(4, "little") + text.encode()


def _count(value: int) -> bytes:
    if value < 1 << 8:
        return b"K" + value.to_bytes(1, "little")
    if value < 1 << 16:
        return b"M" + value.to_bytes(2, "little")
    if value < 1 << 31:
        return b"J" + value.to_bytes(4, "little")
    return b"\x8a\x08" + value.to_bytes(8, "little")
