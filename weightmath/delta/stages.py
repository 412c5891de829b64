"""Whole checkpoint files as regions of elements and the bytes between them: a base, and what exact deltas make of it.

A region is a storage; its name is the dotted path of its first tensor. What lies between the regions (pickles, headers,
checksums) is the rest. A stage that a delta makes is computed piece by piece from the stage before it, so that a chain
of deltas needs no file between its links.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple, Protocol

import numpy as np

from weightmath.checkpoint import Checkpoint, Reader, TensorInfo
from weightmath.delta.bits import Way, expected, unpack
from weightmath.delta.container import REST, DeltaFile
from weightmath.delta.decoding import DeltaReader
from weightmath.delta.description import WholeFile
from weightmath.delta.pieces import pieces_of, step_of
from weightmath.delta.planes import unpacked
from weightmath.dtypes import DTYPES
from weightmath.errors import CheckpointError
from weightmath.kernels.scratch import borrow
from weightmath.layout import Entry

REST_PIECE = 4 << 20
_AROUND = 1 << 20  # bytes of the known rest before and after a piece that it is compressed against


class Region(NamedTuple):
    """A storage as elements of one dtype, and where in the file they begin."""

    entry: Entry
    at: int
    tensor: TensorInfo


class Stage(Protocol):
    """A whole file that can be read by regions, and its rest."""

    @property
    def regions(self) -> Mapping[str, Entry]:
        """The regions by name."""

    def bits(self, name: str, start: int, stop: int) -> np.ndarray:
        """Elements of a region; start is the first of a piece, stop at most its end."""

    @property
    def rest_size(self) -> int:
        """Bytes of the rest."""

    def rest(self, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of the rest."""


def regions_of(checkpoint: Checkpoint) -> dict[str, Region]:
    """The regions of a file, in the order of the file; storages that overlap an earlier one stay in the rest."""
    firsts: dict[str, TensorInfo] = {}
    for tensor in checkpoint.tensors:
        firsts.setdefault(tensor.storage.key, tensor)
    found: dict[str, Region] = {}
    end = 0
    for key, tensor in sorted(firsts.items(), key=lambda item: checkpoint.places[item[0]].offset):
        place, nbytes = checkpoint.places[key].offset, tensor.storage.nbytes
        if nbytes and place >= end:
            dtype = tensor.entry.dtype if nbytes % tensor.entry.dtype.itemsize == 0 else DTYPES["uint8"]
            found[tensor.dotted] = Region(Entry(tensor.dotted, (nbytes // dtype.itemsize,), dtype), place, tensor)
            end = place + nbytes
    return found


def gaps(spans: list[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """What lies between spans of a file (in order) and after the last."""
    starts = [0, *(stop for _, stop in spans)]
    return [gap for gap in zip(starts, [*(start for start, _ in spans), size], strict=True) if gap[0] < gap[1]]


def rest_pieces(size: int) -> list[tuple[int, int]]:
    """The pieces of a rest."""
    return [(start, min(start + REST_PIECE, size)) for start in range(0, size, REST_PIECE)]


def rest_known(stage: Stage, start: int, stop: int) -> bytes:
    """What of a stage's rest a piece of the next one's is compressed against."""
    return stage.rest(min(max(0, start - _AROUND), stage.rest_size), min(stop + _AROUND, stage.rest_size))


def check_is_one_file(checkpoint: Checkpoint) -> None:
    """CheckpointError for several files, or a folder of one: there are no bytes of a whole."""
    several = len(checkpoint.files) != 1
    if several or not checkpoint.path.is_file():
        fact = "consists of several files" if several else "is a folder"
        raise CheckpointError(
            f"{fact}, and whole files are compared one by one",
            where=str(checkpoint.path),
            hint=("" if several else f"name its file: {checkpoint.files[0]}; or ")
            + "--keep weights compares the weights alone",
        )


class FileStage:
    """A checkpoint file as it lies on the disk.

    slot   of memory that a thread uses again for each `bits` that it asks for; None: all of them stay
    """

    def __init__(self, reader: Reader, slot: str | None = None) -> None:
        checkpoint = reader.checkpoint
        check_is_one_file(checkpoint)
        self._reader = reader
        self._slot = slot
        self.located = regions_of(checkpoint)
        spans = [(region.at, region.at + region.entry.nbytes) for region in self.located.values()]
        self.gaps = gaps(spans, checkpoint.size)
        self._begins = list(accumulate((stop - start for start, stop in self.gaps), initial=0))

    @cached_property
    def regions(self) -> Mapping[str, Entry]:
        """The regions by name."""
        return {name: region.entry for name, region in self.located.items()}

    def bits(self, name: str, start: int, stop: int) -> np.ndarray:
        """Elements of a region."""
        entry, at, _ = self.located[name]
        shape, dtype = (stop - start,), entry.dtype.bits
        out = np.empty(shape, dtype) if self._slot is None else borrow(self._slot, shape, dtype)
        self._reader.fill(at + start * dtype.itemsize, out)
        return out

    @property
    def rest_size(self) -> int:
        """Bytes of the rest."""
        return self._begins[-1]

    def rest(self, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of the rest."""
        parts = []
        number = bisect_right(self._begins, start) - 1
        while start < stop:
            here = self.gaps[number][0] + start - self._begins[number]
            length = min(stop, self._begins[number + 1]) - start
            parts.append(self._reader.read_bytes(here, length))
            start += length
            number += 1
        return b"".join(parts)


@dataclass(frozen=True)
class DeltaStage:
    """What an exact delta of a whole file makes of the stage before it."""

    before: Stage
    reader: DeltaReader
    _last: dict[int, bytes] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        records = self.file.delta.records.values()
        if not all(record.is_exact and record.at is not None for record in records):
            raise CheckpointError("is of a whole file, and not all of it is exact", where=str(self.file.path))
        if self.rest_size < 0 or len(self.whole.rest) != -(-self.rest_size // REST_PIECE):
            raise CheckpointError("what lies between its tensors has another size", where=str(self.file.path))
        if not all(record.source is None or record.source in self.before.regions for record in records):
            raise self._other_file()

    @property
    def file(self) -> DeltaFile:
        """The delta file."""
        return self.reader.file

    @cached_property
    def regions(self) -> Mapping[str, Entry]:
        """The regions by name."""
        return {name: record.entry for name, record in self.file.delta.records.items()}

    @property
    def whole(self) -> WholeFile:
        """The file that it becomes."""
        assert self.file.delta.whole is not None
        return self.file.delta.whole

    def bits(self, name: str, start: int, stop: int) -> np.ndarray:
        """Elements of a region: its whole piece is decoded."""
        record = self.file.delta.records[name]
        number = start // step_of(record.entry)
        piece = pieces_of(record.entry)[number] if record.entry.size else None
        assert piece is not None
        known = known_bits(self.before, record.source, record.entry, piece.start, piece.stop)
        begin, length = self.file.span(name, number)
        if length:
            way: Way = record.encoder  # type: ignore[assignment]
            with self.file.named():
                known = unpack(self.reader.read_bytes(begin, length), known, way)
        return known.view(record.entry.dtype.bits)[start - piece.start : stop - piece.start]

    @cached_property
    def rest_size(self) -> int:
        """Bytes of the rest."""
        return self.whole.size - sum(entry.nbytes for entry in self.regions.values())

    def rest(self, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of the rest."""
        first = start // REST_PIECE
        spans = rest_pieces(self.rest_size)[first : -(-stop // REST_PIECE)]
        content = b"".join(self._cached_rest(number, *span) for number, span in enumerate(spans, first))
        return content[start - first * REST_PIECE : stop - first * REST_PIECE]

    def _cached_rest(self, number: int, start: int, stop: int) -> bytes:
        # Between every two tensors lies a little of the rest, so that one piece is asked for again and again.
        found = self._last.get(number)
        if found is None:
            found = self._rest_piece(number, start, stop)
            self._last.clear()
            self._last[number] = found
        return found

    def _rest_piece(self, number: int, start: int, stop: int) -> bytes:
        content = self.reader.read_bytes(*self.file.span(REST, number))
        known = rest_known(self.before, start, stop)
        try:
            with self.file.named():
                return unpacked(content, stop - start, known)
        except CheckpointError:
            # Sound bytes that cannot be unpacked were packed after others than these.
            if self.file.is_sound(REST, self.reader.read_bytes):
                raise self._other_file() from None
            raise

    def _other_file(self) -> CheckpointError:
        name = self.file.delta.base.file
        fact = f"needs the file {name} that it was made from, and another one was given, though with the same weights"
        hint = "what a file holds besides weights counts too; deltas of weights alone are made with --keep weights"
        return CheckpointError(fact, where=str(self.file.path), hint=hint)


def known_bits(stage: Stage, source: str | None, entry: Entry, start: int, stop: int) -> np.ndarray:
    """What a stage lets one expect of elements of a region of the next one, as unsigned integers."""
    there = stage.regions.get(source) if source is not None else None
    if source is None or there is None:
        return expected(np.empty(0, entry.dtype.bits), entry.dtype, entry.dtype, stop - start)
    # Pieces of both begin at the same elements, as those of all regions do.
    bits = stage.bits(source, start, min(stop, there.size)) if start < there.size else np.empty(0, there.dtype.bits)
    return expected(bits, there.dtype, entry.dtype, stop - start)
