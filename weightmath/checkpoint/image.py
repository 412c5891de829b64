"""An output, fully planned before its first byte: every size, every position, who writes what.

An image is a value: the `Writer` fills it in, from any thread and in any order. It knows nothing of the container;
what surrounds the data (headers, directory) is the business of `seal`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from weightmath.checkpoint.description import Checkpoint, Place, TensorInfo
from weightmath.checkpoint.records import Record
from weightmath.checkpoint.storage_plan import StoragePlan
from weightmath.dtypes import DType
from weightmath.layout import Entry

PIECE = 4 << 20


class File(NamedTuple):
    """A file of the output. Its name is that within the folder, or "" where the output is one file."""

    name: str
    size: int


class Companion(NamedTuple):
    """A file that goes into the output's folder as it is, such as a tokenizer."""

    name: str
    source: Path
    size: int


class Extent(NamedTuple):
    """A run of the output with one checksum: a record, such as a storage."""

    file: int
    offset: int
    size: int


class Target(NamedTuple):
    """Where a computed tensor goes: from which byte of which extent. `stride` (elements) only if not contiguous."""

    extent: int
    offset: int
    entry: Entry
    stride: tuple[int, ...] | None


class Copy(NamedTuple):
    """Bytes that the output takes over from one of the template's files, at most `PIECE` of them."""

    extent: int
    offset: int
    file: int
    source: int
    size: int


class Elements(NamedTuple):
    """Elements [start, stop) of a tensor that the output takes over, where they do not lie in one run of bytes."""

    extent: int
    offset: int
    tensor: TensorInfo
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Bytes of them."""
        return (self.stop - self.start) * self.tensor.entry.dtype.itemsize


class Zeros(NamedTuple):
    """Bytes of an extent that no tensor sees and that stay zero."""

    extent: int
    offset: int
    size: int


Seal = Callable[[Sequence[int]], Iterable[tuple[int, bytes]]]


@dataclass(frozen=True)
class Image:
    """What an output will be.

    files       its files; one without a name, or those of a folder
    extents     its runs of data
    targets     where each computed tensor goes, by name; tied tensors once
    aliases     tied tensors that need no computing: name -> the target that holds their elements
    copies      what comes from the template
    zeros       what stays empty
    literals    contents of extents that are known already: extent -> bytes
    unordered   extents that are not written in pieces of known order; they are read again for their checksum
    companions  files that are copied beside the others
    unstored    tied tensors that are in the metadata alone: name -> the one whose name the elements have
    seal        from the extents' checksums to what surrounds them in the first file: (position, bytes)
    """

    template: Checkpoint
    files: tuple[File, ...]
    extents: tuple[Extent, ...]
    targets: Mapping[str, Target]
    aliases: Mapping[str, str]
    copies: tuple[Copy | Elements, ...]
    zeros: tuple[Zeros, ...]
    literals: Mapping[int, bytes]
    unordered: frozenset[int]
    companions: tuple[Companion, ...]
    seal: Seal = field(repr=False)
    unstored: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files) + sum(companion.size for companion in self.companions)

    @property
    def is_folder(self) -> bool:
        """Whether the output is a folder of files."""
        return self.files[0].name != ""

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
    shard     most bytes in a file of a folder
    """

    computed: frozenset[str]
    dtypes: Mapping[str, DType]
    device: Literal["cpu", "keep"]
    drop: Sequence[str]
    keep: Literal["all", "weights"]
    extra: Mapping[str, bytes]
    shard: int


@dataclass(frozen=True)
class TensorPlan:
    """A tensor that the output holds by itself, in C order, whatever storage it has in the template.

    new        its dtype in the output
    computed   whether it is written; otherwise it is copied
    """

    tensor: TensorInfo
    new: DType
    computed: bool

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor in the output."""
        return self.tensor.entry.size * self.new.itemsize


Content = bytes | StoragePlan | TensorPlan | Record


Part = tuple[Extent, Content]  # what fills it: bytes that are known, what is computed, or a record as it is


def content_size(content: Content) -> int:
    """Bytes of an extent with this content."""
    if isinstance(content, bytes):
        return len(content)
    return content.size if isinstance(content, Record) else content.nbytes


def assemble(
    template: Checkpoint,
    files: Sequence[File],
    parts: Sequence[Part],
    *,
    aliases: Mapping[str, str] | None = None,
    companions: Sequence[Companion] = (),
    seal: Seal = lambda crcs: (),
) -> Image:
    """The image that these parts make; `aliases` are those besides what storages tell."""
    targets: dict[str, Target] = {}
    tied: dict[str, str] = {}
    copies: list[Copy | Elements] = []
    zeros: list[Zeros] = []
    literals: dict[int, bytes] = {}
    unordered: set[int] = set()
    for number, (_, content) in enumerate(parts):
        if isinstance(content, bytes):
            literals[number] = content
            continue
        if isinstance(content, TensorPlan) and content.computed:
            targets[content.tensor.entry.name] = Target(number, 0, content.tensor.entry.of_dtype(content.new), None)
        if isinstance(content, StoragePlan):
            for tensor in content.computed:
                targets[tensor.entry.name] = _target(number, content, tensor)
            if content.is_one_tensor and not content.aliases:
                continue
            tied.update(content.aliases)
            zeros.extend(Zeros(number, start, stop - start) for start, stop in content.unseen())
            if content.scattered:
                unordered.add(number)
        copies.extend(_copies(number, content, template.places))
    return Image(
        template=template,
        files=tuple(files),
        extents=tuple(extent for extent, _ in parts),
        targets=targets,
        aliases={**tied, **(aliases or {})},
        copies=tuple(copies),
        zeros=tuple(zeros),
        literals=literals,
        unordered=frozenset(unordered),
        companions=tuple(companions),
        seal=seal,
    )


def _target(extent: int, plan: StoragePlan, tensor: TensorInfo) -> Target:
    """Where a computed tensor of a storage goes."""
    entry = tensor.entry.of_dtype(plan.new or tensor.entry.dtype)
    stride = None if tensor.contiguous else tensor.stride
    return Target(extent, tensor.offset * entry.dtype.itemsize, entry, stride)


def _copies(extent: int, content: Content, places: Mapping[str, Place]) -> Iterator[Copy | Elements]:
    if isinstance(content, Record):
        yield from _pieces(extent, 0, Place(0, content.offset), content.size)
    elif isinstance(content, StoragePlan):
        file, source = places[content.storage.key]
        for start, stop in content.kept():
            yield from _pieces(extent, start, Place(file, source + start), stop - start)
    elif isinstance(content, TensorPlan) and not content.computed:
        tensor = content.tensor
        place = places.get(tensor.storage.key)
        if place is not None and tensor.contiguous:
            yield from _pieces(extent, 0, Place(place.file, place.offset + tensor.first_byte), content.nbytes)
        else:
            yield from _elements(extent, tensor)


def _pieces(extent: int, offset: int, source: Place, size: int) -> Iterator[Copy]:
    """A copy of any size, cut so that threads can share it."""
    for done in range(0, size, PIECE):
        yield Copy(extent, offset + done, source.file, source.offset + done, min(PIECE, size - done))


def _elements(extent: int, tensor: TensorInfo) -> Iterator[Elements]:
    width = tensor.entry.dtype.itemsize
    step = PIECE // width
    for start in range(0, tensor.entry.size, step):
        yield Elements(extent, start * width, tensor, start, min(start + step, tensor.entry.size))
