"""What becomes of each storage: the unit of an output is the storage, not the tensor.

A storage may be shared: by tied tensors, by the slices of a flat buffer, by a tensor of which only a slice was
kept. What is computed overwrites the elements that it covers; the rest of the storage is copied.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from weightmath.checkpoint.description import Section, Storage, TensorInfo
from weightmath.dtypes import DType
from weightmath.errors import OutputError

_NO_ALIASES: Mapping[str, str] = {}


class StoragePlan(NamedTuple):
    """How the output's version of one storage is made.

    storage    as it is in the template
    old, new   dtype of its elements; None for a storage that is only copied
    computed   tensors to be written, each once, by their place in the storage
    aliases    tied tensors: name -> the computed one whose elements they are
    """

    storage: Storage
    old: DType | None
    new: DType | None
    computed: tuple[TensorInfo, ...]
    aliases: Mapping[str, str]

    @property
    def retyped(self) -> bool:
        """Whether its elements change their dtype."""
        return self.old is not self.new

    @property
    def elements(self) -> int:
        """Elements of the storage; 0 for one that is only copied."""
        return self.storage.nbytes // self.old.itemsize if self.old else 0

    @property
    def nbytes(self) -> int:
        """Bytes of the storage in the output."""
        return self.elements * self.new.itemsize if self.retyped and self.new else self.storage.nbytes

    @property
    def scattered(self) -> bool:
        """Whether a computed tensor is not contiguous, so that its elements are not written in file order."""
        return any(not tensor.contiguous for tensor in self.computed)

    def kept(self) -> list[tuple[int, int]]:
        """Runs of bytes [start, stop) that the output copies from the template.

        All of a scattered storage that is not covered: its computed elements are written over the copy.
        """
        if self.is_one_tensor:
            return []
        if self.old is None or (self.scattered and not self.retyped and not self._covered):
            return [(0, self.storage.nbytes)]
        return [] if self.retyped or self.scattered else self._gaps(self.old.itemsize)

    def unseen(self) -> list[tuple[int, int]]:
        """Runs of bytes [start, stop) of the output that no tensor sees and that have no value in the new dtype."""
        return self._gaps(self.new.itemsize) if self.new and self.retyped and not self.scattered else []

    @property
    def is_one_tensor(self) -> bool:
        """Whether a computed tensor is all of it, in order: nearly every storage is."""
        first = self.computed[0] if len(self.computed) == 1 else None
        return first is not None and first.contiguous and first.entry.nbytes == self.storage.nbytes

    @property
    def _covered(self) -> bool:
        return sum(tensor.entry.size for tensor in self.computed) == self.elements

    def _gaps(self, itemsize: int) -> list[tuple[int, int]]:
        runs = [(tensor.offset, tensor.offset + tensor.entry.size) for tensor in self.computed if tensor.entry.size]
        edges = [0, *(edge * itemsize for run in runs for edge in run), self.nbytes]
        return [(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True) if start < stop]


def plan_storages(
    section: Section, computed: Collection[str], dtypes: Mapping[str, DType], others: Collection[str]
) -> dict[str, StoragePlan]:
    """A plan for every storage that a tensor of the checkpoint lies in, by its key, in file order.

    computed   names of the section's tensors that will be written
    dtypes     new dtypes of some of them
    others     keys of storages that something else than a tensor uses
    Fails      OutputError where tensors share elements in a way that has no right answer
    """
    users: dict[str, list[TensorInfo]] = {}
    for tensor in section.checkpoint.tensors:
        users.setdefault(tensor.storage.key, []).append(tensor)
    chosen = {tensor.number for name, tensor in section.tensors.items() if name in computed}
    plans: dict[str, StoragePlan] = {}
    for key, (tensor, *more) in users.items():
        if more or not tensor.contiguous or tensor.number not in chosen or key in others:
            plans[key] = _plan([tensor, *more], chosen, dtypes, key in others)
        else:  # nearly all are like this
            old = tensor.entry.dtype
            new = dtypes.get(tensor.entry.name, old) if dtypes else old
            plans[key] = StoragePlan(tensor.storage, old, new, (tensor,), _NO_ALIASES)
    return plans


def _plan(
    users: Sequence[TensorInfo], chosen: Collection[int], dtypes: Mapping[str, DType], has_others: bool
) -> StoragePlan:
    written = [tensor for tensor in users if tensor.number in chosen]
    if not written:
        return StoragePlan(users[0].storage, None, None, (), _NO_ALIASES)
    first = written[0]
    if has_others:
        raise OutputError(
            f"`{first.dotted}` shares its storage with an object that is not a plain tensor",
            hint=f"leave it out of the merge: `except: {first.entry.name}`",
        )
    old = first.entry.dtype
    new = dtypes.get(first.entry.name, old)
    retyped = any(dtypes.get(tensor.entry.name, tensor.entry.dtype) != tensor.entry.dtype for tensor in written)
    if retyped:
        _check_one_dtype(users, written, dtypes)
    canonical, aliases = _untie(written)
    _check_apart(canonical, [tensor for tensor in users if tensor.number not in chosen])
    return StoragePlan(first.storage, old, new, canonical, aliases)


def _check_one_dtype(users: Sequence[TensorInfo], written: Sequence[TensorInfo], dtypes: Mapping[str, DType]) -> None:
    pairs = {(tensor.entry.dtype, dtypes.get(tensor.entry.name, tensor.entry.dtype)) for tensor in written}
    if len(users) == len(written) and len(pairs) == 1:
        return
    names = ", ".join(f"`{tensor.dotted}`" for tensor in users[:4])
    raise OutputError(f"{names} share one storage, so that all or none can change their dtype", hint="keep their dtype")


def _untie(tensors: Sequence[TensorInfo]) -> tuple[tuple[TensorInfo, ...], Mapping[str, str]]:
    """The tensors with different elements, by their place, and which others have the same elements as one."""
    if len(tensors) == 1:
        return tuple(tensors), _NO_ALIASES
    canonical: dict[object, TensorInfo] = {}
    aliases = {}
    for tensor in tensors:
        same = canonical.setdefault((tensor.offset, tensor.entry.shape, tensor.stride), tensor)
        if same is not tensor:
            aliases[tensor.entry.name] = same.entry.name
    return tuple(sorted(canonical.values(), key=lambda tensor: tensor.offset)), aliases


def _check_apart(written: Sequence[TensorInfo], kept: Sequence[TensorInfo]) -> None:
    """OutputError if a written tensor shares an element with another tensor or with itself."""
    for tensor in written:
        if not tensor.contiguous and _overlaps_itself(tensor):
            raise OutputError(
                f"`{tensor.dotted}` is expanded: several of its elements are the same number in memory",
                hint=f"leave it out of the merge: `except: {tensor.entry.name}`",
            )
    if len(written) + len(kept) == 1:
        return
    if all(tensor.contiguous for tensor in (*written, *kept)):
        _check_runs_apart(written, kept)
    else:
        _check_bytes_apart(written, kept)


def _overlaps_itself(tensor: TensorInfo) -> bool:
    reach = 1
    for step, size in sorted(zip(tensor.stride, tensor.entry.shape, strict=True)):
        if size > 1 and step < reach:
            return True
        reach += (size - 1) * step
    return False


def _check_runs_apart(written: Sequence[TensorInfo], kept: Sequence[TensorInfo]) -> None:
    full = sorted((tensor for tensor in (*written, *kept) if tensor.entry.size), key=lambda tensor: tensor.first_byte)
    numbers = {tensor.number for tensor in written}
    for furthest, tensor in zip(_furthest_so_far(full), full[1:], strict=False):
        overlap = tensor.first_byte < furthest.first_byte + furthest.entry.nbytes
        if overlap and numbers & {tensor.number, furthest.number}:
            raise _overlap(furthest, tensor)


def _furthest_so_far(tensors: Sequence[TensorInfo]) -> Iterable[TensorInfo]:
    return accumulate(tensors, lambda *two: max(two, key=lambda tensor: tensor.first_byte + tensor.entry.nbytes))


def _check_bytes_apart(written: Sequence[TensorInfo], kept: Sequence[TensorInfo]) -> None:
    # Strided tensors may interleave, so ranges do not tell; this is the only table as long as a storage.
    owners = np.zeros(written[0].storage.nbytes, np.int8)
    for tensor in written:
        view = _bytes_of(owners, tensor)
        if view.any():
            raise _overlap(tensor, _first_on(owners, tensor, written))
        view[...] = 1
    for tensor in kept:
        if _bytes_of(owners, tensor).any():
            raise _overlap(tensor, _first_on(owners, tensor, written))


def _first_on(
    owners: np.ndarray[Any, np.dtype[np.int8]], tensor: TensorInfo, written: Sequence[TensorInfo]
) -> TensorInfo:
    """The first of the tensors that lies on bytes of this one; `owners` is used up."""
    owners[...] = 0
    _bytes_of(owners, tensor)[...] = 1
    return next(other for other in written if _bytes_of(owners, other).any())


def _bytes_of(owners: np.ndarray[Any, np.dtype[np.int8]], tensor: TensorInfo) -> np.ndarray[Any, np.dtype[np.int8]]:
    width = tensor.entry.dtype.itemsize
    steps = (*(step * width for step in tensor.stride), 1)
    return np.lib.stride_tricks.as_strided(owners[tensor.offset * width :], (*tensor.entry.shape, width), steps)


def _overlap(one: TensorInfo, other: TensorInfo) -> OutputError:
    return OutputError(
        f"`{one.dotted}` and `{other.dotted}` share elements, and not both are computed as one",
        hint=f"merge both or neither, or leave one out of the output: `drop: {other.dotted}`",
    )
