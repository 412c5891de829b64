"""An output, fully planned before its first byte: every size, every position, who writes what.

An image is a value: the `Writer` fills it in, from any thread and in any order. It knows nothing of the container;
what surrounds the data (headers, directory) is the business of `seal`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from weightmath.checkpoint.description import Checkpoint, Place, TensorInfo
from weightmath.checkpoint.records import Record
from weightmath.checkpoint.storage_plan import StoragePlan
from weightmath.dtypes import DType
from weightmath.layout import Entry

PIECE = 4 << 20


class Extent(NamedTuple):
    """A run of the output with one checksum: a record, such as a storage."""

    name: str
    offset: int
    size: int


class Target(NamedTuple):
    """Where a computed tensor goes: from which byte of which extent. `stride` (elements) only if not contiguous."""

    extent: int
    offset: int
    entry: Entry
    stride: tuple[int, ...] | None


class Copy(NamedTuple):
    """Bytes that the output takes over from the template, at most `PIECE` of them."""

    extent: int
    offset: int
    source: int  # byte in the template's file
    size: int


class Zeros(NamedTuple):
    """Bytes of an extent that no tensor sees and that stay zero."""

    extent: int
    offset: int
    size: int


Seal = Callable[[Sequence[int]], Iterable[tuple[int, bytes]]]


@dataclass(frozen=True)
class Image:
    """What an output will be.

    size       bytes of the file
    extents    its runs of data
    targets    where each computed tensor goes, by name; tied tensors once
    aliases    tied tensors that need no computing: name -> the target that holds their elements
    copies     what comes from the template
    zeros      what stays empty
    literals   contents of extents that are known already: extent -> bytes
    unordered  extents that are not written in pieces of known order; they are read again for their checksum
    seal       from the extents' checksums to what surrounds them: (position, bytes)
    """

    template: Checkpoint
    size: int
    extents: tuple[Extent, ...]
    targets: Mapping[str, Target]
    aliases: Mapping[str, str]
    copies: tuple[Copy, ...]
    zeros: tuple[Zeros, ...]
    literals: Mapping[int, bytes]
    unordered: frozenset[int]
    seal: Seal = field(repr=False)

    def dtype(self, name: str) -> DType:
        """The dtype in which a computed tensor is written; of a tied tensor, that of its target."""
        return self.targets[self.aliases.get(name, name)].entry.dtype


@dataclass(frozen=True)
class Wishes:
    """How an output differs from its template, besides the numbers in its computed tensors.

    computed  names of the section's tensors that will be written
    dtypes    new dtypes of some of them
    device    "cpu": the section's tensors load to the CPU; "keep": to where the template's did
    drop      patterns of entries, by dotted path, that are left out
    keep      "weights": nothing but the section and what holds it; "all": everything
    extra     further records, which torch ignores, by name
    """

    computed: Collection[str]
    dtypes: Mapping[str, DType]
    device: Literal["cpu", "keep"]
    drop: Sequence[str]
    keep: Literal["all", "weights"]
    extra: Mapping[str, bytes]


Content = bytes | StoragePlan | Record


class Part(NamedTuple):
    """An extent and what fills it: bytes that are known, a storage that is computed, or a record as it is."""

    name: str
    offset: int
    content: Content


def content_size(content: Content) -> int:
    """Bytes of an extent with this content."""
    if isinstance(content, bytes):
        return len(content)
    return content.nbytes if isinstance(content, StoragePlan) else content.size


def assemble(template: Checkpoint, parts: Sequence[Part], dtypes: Mapping[str, DType], size: int, seal: Seal) -> Image:
    """The image that these parts make."""
    plans = {number: part.content for number, part in enumerate(parts) if isinstance(part.content, StoragePlan)}
    targets = {
        tensor.entry.name: _target(number, plan, tensor) for number, plan in plans.items() for tensor in plan.computed
    }
    return Image(
        template=template,
        size=size,
        extents=tuple(Extent(part.name, part.offset, content_size(part.content)) for part in parts),
        targets=targets,
        aliases={name: of for plan in plans.values() for name, of in plan.aliases.items()},
        copies=tuple(
            copy for number, part in enumerate(parts) for copy in _copies(number, part.content, template.places)
        ),
        zeros=tuple(zeros for number, plan in plans.items() for zeros in _zeros(number, plan)),
        literals={number: part.content for number, part in enumerate(parts) if isinstance(part.content, bytes)},
        unordered=frozenset(number for number, plan in plans.items() if plan.scattered),
        seal=seal,
    )


def _target(extent: int, plan: StoragePlan, tensor: TensorInfo) -> Target:
    assert plan.new is not None
    entry = replace(tensor.entry, dtype=plan.new)
    stride = None if tensor.contiguous else tensor.stride
    return Target(extent, tensor.offset * plan.new.itemsize, entry, stride)


def _copies(extent: int, content: Content, places: Mapping[str, Place]) -> Iterator[Copy]:
    if isinstance(content, Record):
        yield from _pieces(extent, 0, content.offset, content.size)
    elif isinstance(content, StoragePlan):
        source = places[content.storage.key].offset
        for start, stop in content.kept():
            yield from _pieces(extent, start, source + start, stop - start)


def _zeros(extent: int, plan: StoragePlan) -> Iterator[Zeros]:
    return (Zeros(extent, start, stop - start) for start, stop in plan.unseen())


def _pieces(extent: int, offset: int, source: int, size: int) -> Iterator[Copy]:
    """A copy of any size, cut so that threads can share it."""
    for done in range(0, size, PIECE):
        yield Copy(extent, offset + done, source + done, min(PIECE, size - done))
