"""Where the numbers come from and go to: bytes become numbers and numbers become bytes here and nowhere else.

Everything that is written is rounded once, screened for NaN and infinities, and compared with its template bit for bit,
so that a run can say what it changed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from weightmath.algebra.graph import Vector
from weightmath.dtypes import DType
from weightmath.engine.frame import Piece
from weightmath.engine.plan import Output, Plan
from weightmath.engine.traces import Written
from weightmath.kernels import convert
from weightmath.kernels.reduce import REDUCTIONS
from weightmath.kernels.scratch import borrow
from weightmath.scope import tile

_LOOKED_AT = 1 << 25  # elements that the relative change and cosine are taken of, tiles at equal distances

Progress = Callable[[int], None]
Spans = Sequence[tuple[Piece, slice]]  # the pieces of a chunk, and where each lies in it
D = TypeVar("D", DType, "DType | None")
_NO_MOMENTS = np.zeros((0, 3))


class Raw(NamedTuple):
    """A chunk as it is stored."""

    dtype: DType
    bits: np.ndarray


class Source(Protocol):
    """Where an input's tensors are read from; safe for any thread."""

    def dtype(self, name: str) -> DType:
        """The dtype in which a tensor is stored."""

    def read(self, name: str, start: int, stop: int, out: np.ndarray) -> None:
        """Elements start..stop of a tensor, as raw bits, into a 1-D array."""


class Sink(Protocol):
    """Where an output's tensors are written to; safe for any thread."""

    def dtype(self, name: str) -> DType | None:
        """The dtype in which a tensor is stored; None: it is not written."""

    def write(self, name: str, start: int, bits: np.ndarray) -> int | None:
        """Elements from `start` on, as raw bits; returns their checksum, or None where `holds` could not tell."""

    def holds(self, name: str, start: int, size: int, crc: int) -> bool:
        """Whether elements that an earlier run has written, with this checksum, are there."""

    def adopt(self, name: str, start: int, size: int, crc: int) -> None:
        """Let elements that are there count as written."""

    @property
    def copies(self) -> Sequence[Any]:
        """Jobs that copy what the template keeps."""

    def copy(self, job: Any) -> tuple[int, int | None]:
        """Do one of the jobs; the bytes copied, and their checksum as `write` returns it."""

    def adopt_copy(self, job: Any, crc: int) -> bool:
        """Whether what an earlier run's job has copied, with this checksum, is there; if so, it counts as copied."""


@dataclass
class Change:
    """What an output changed against its template, one tensor."""

    elements: int = 0
    changed: int = 0
    nonfinite: int = 0


@dataclass
class Outcome:
    """What one output turned out to be: changes by tensor, and moments for relative change and cosine."""

    tensors: dict[str, Change] = field(default_factory=dict)
    parts: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))  # moments of each tile that is looked at
    sampled: bool = False

    @property
    def moments(self) -> np.ndarray:
        """The sums of d d, d t and t t, with d the change and t the template: tile by tile in flat order."""
        return np.asarray(self.parts.sum(axis=0))

    @property
    def relative_change(self) -> float | None:
        """norm(output - template) / norm(template); None without a template or for a zero one."""
        dd, _, tt = self.moments
        return float(np.sqrt(dd / tt)) if tt > 0 else None

    @property
    def cosine(self) -> float | None:
        """The cosine between output and template; None without a template or with a zero vector."""
        dd, dt, tt = self.moments
        oo = tt + 2 * dt + dd
        return float((tt + dt) / np.sqrt(tt * oo)) if tt > 0 and oo > 0 else None


def stride(plan: Plan) -> int:
    """Of how many tiles one is looked at for the relative change and cosine."""
    return -(-plan.layout.size // _LOOKED_AT) or 1


class Io:
    """Bytes in and out for the frames of all threads."""

    def __init__(self, plan: Plan, sources: Mapping[Vector, Source], sinks: Mapping[str, Sink]) -> None:
        self._plan = plan
        self._sources = sources
        self._sinks = sinks
        self._lock = threading.Lock()
        self._stride = stride(plan)
        looked_at = -(-plan.tile_base[-1] // self._stride)
        self._outcomes = {
            output.name: Outcome(parts=np.zeros((looked_at, 3)), sampled=self._stride > 1)
            for output in plan.request.outputs
        }

    def read(self, node: Vector, spans: Spans, out: np.ndarray, slot: str = "execute.in") -> tuple[int, Raw | None]:
        """The pieces of a chunk of an input, in the compute dtype.

        Returns the bytes read, and the chunk as it is stored if all of it is of one dtype: valid until `slot`, or
        `out`, is used again.
        """
        source = self._sources[node]
        nbytes = 0
        raws: list[Raw] = []
        for dtype, run in _runs(spans, lambda piece: source.dtype(self._name(piece))):
            here = _extent(run)
            part = out[here]
            plain = dtype.bits == out.dtype and dtype.is_native
            bits = part if plain else borrow(slot, part.shape, dtype.bits)
            for piece, span in run:
                source.read(self._name(piece), piece.start, piece.stop, bits[_within(span, here)])
            if not plain:
                convert.decode(bits, dtype, part)
            nbytes += bits.nbytes
            raws.append(Raw(dtype, bits))
        return nbytes, raws[0] if len(raws) == 1 else None

    def write(
        self, output: Output, spans: Spans, values: np.ndarray, before: np.ndarray | None, stored: Raw | None = None
    ) -> list[Written]:
        """The pieces of a chunk of an output that it does not leave out: rounded once, compared with its template.

        before, stored   the template's values, and how they are stored where that is known
        """
        sink = self._sinks[output.name]
        found: list[Written] = []
        for dtype, run in _runs(spans, lambda piece: sink.dtype(self._name(piece))):
            if dtype is None:
                continue
            here = _extent(run)
            bits = _encoded("execute.out", values[here], dtype)
            unequal = None
            if stored is not None and stored.dtype == dtype:
                unequal = _unequal(bits, stored.bits[here])
            elif before is not None:
                unequal = _unequal(bits, _encoded("execute.before", before[here], dtype))
            screened = convert.nonfinite(bits, dtype)
            for piece, span in run:
                own = bits[_within(span, here)]
                changed = len(own)
                places: tuple[int, ...] = ()
                moments = _NO_MOMENTS
                if before is not None and unequal is not None:
                    changed = int(np.count_nonzero(unequal[_within(span, here)]))
                    places, moments = self._moments(piece, values[span], before[span])
                nonfinite = convert.nonfinite(own, dtype) if screened else 0
                crc = sink.write(self._name(piece), piece.start, own)
                found.append(
                    Written(
                        output.name,
                        piece.entry,
                        piece.start,
                        len(own),
                        own.nbytes,
                        crc,
                        changed,
                        nonfinite,
                        places,
                        moments,
                    )
                )
        return found

    def _name(self, piece: Piece) -> str:
        return self._plan.layout.entries[piece.entry].name

    def recall(self, pieces: Sequence[Written]) -> bool:
        """Whether all that an earlier run has written of a chunk is there; if so, it counts as written."""
        found = [(self._sinks[one.output], self._place(one)) for one in pieces if one.crc is not None]
        there = len(found) == len(pieces) and all(sink.holds(*place) for sink, place in found)
        for sink, place in found if there else ():
            sink.adopt(*place)
        return there

    def _place(self, written: Written) -> tuple[str, int, int, int]:
        assert written.crc is not None
        return self._plan.layout.entries[written.entry].name, written.start, written.size, written.crc

    def _moments(self, piece: Piece, values: np.ndarray, before: np.ndarray) -> tuple[tuple[int, ...], np.ndarray]:
        """Moments of the change, by tile: no chunk or thread decides which tiles are looked at, or in which order."""
        entry, base = self._plan.layout.entries[piece.entry], self._plan.tile_base[piece.entry]
        numbers = [n for n in range(piece.first_tile, piece.last_tile + 1) if (base + n) % self._stride == 0]
        if not numbers:
            return (), _NO_MOMENTS
        moments = np.zeros((len(numbers), 3))
        for row, number in zip(moments, numbers, strict=True):
            one = tile(entry, number)
            here = slice(one.start - piece.start, one.stop - piece.start)
            change = borrow("execute.change", values[here].shape, values.dtype)
            np.subtract(values[here], before[here], out=change)
            row[:] = REDUCTIONS["gram"].partial(change[None], before[here][None])[0]
        return tuple((base + number) // self._stride for number in numbers), moments

    def count(self, written: Written) -> None:
        """Add a piece to the outcome."""
        outcome = self._outcomes[written.output]
        outcome.parts[list(written.places)] = written.moments
        name = self._plan.layout.entries[written.entry].name
        with self._lock:
            total = outcome.tensors.setdefault(name, Change())
            total.elements += written.size
            total.changed += written.changed
            total.nonfinite += written.nonfinite

    def outcomes(self) -> Mapping[str, Outcome]:
        """What each output turned out to be."""
        return self._outcomes


def _encoded(slot: str, values: np.ndarray, dtype: DType) -> np.ndarray:
    if dtype.is_native and dtype.bits == values.dtype:
        return values
    bits = borrow(slot, values.shape, dtype.bits)
    convert.encode(values, dtype, bits)
    return bits


def _unequal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where two arrays of bits differ; valid until the next call."""
    whole = np.dtype(f"u{a.itemsize}")
    unequal = borrow("execute.unequal", a.shape, bool)
    np.not_equal(a.view(whole), b.view(whole), out=unequal)
    return unequal


def _runs(spans: Spans, dtype: Callable[[Piece], D]) -> Iterator[tuple[D, Spans]]:
    """Neighbours of one dtype, which are converted together: a conversion costs more than a small tensor."""
    for found, run in groupby(spans, key=lambda span: dtype(span[0])):
        yield found, list(run)


def _extent(run: Spans) -> slice:
    return slice(run[0][1].start, run[-1][1].stop)


def _within(span: slice, extent: slice) -> slice:
    return slice(span.start - extent.start, span.stop - extent.start)
