"""Where the numbers come from and go to: bytes become numbers and numbers become bytes here and nowhere else.

Everything that is written is rounded once, screened for NaN and infinities, and compared with its template bit for bit,
so that a run can say what it changed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import groupby
from typing import Any

import numpy as np

from weightmath.algebra.graph import Vector
from weightmath.dtypes import DTYPES, DType
from weightmath.engine.ends import Sink, Source
from weightmath.engine.frame import Piece, Raw, alike
from weightmath.engine.outcome import Change, Outcome, stride
from weightmath.engine.plan import Output, Plan
from weightmath.engine.rounding import Rounded, numbers_of, round_in_loop, round_to
from weightmath.engine.traces import Written, WrittenPart
from weightmath.kernels import convert
from weightmath.kernels.reduce import REDUCTIONS
from weightmath.kernels.scratch import borrow
from weightmath.scope import tile_span

Progress = Callable[[int], None]
Spans = Sequence[tuple[Piece, slice]]  # the pieces of a chunk, and where each lies in it


class Io:
    """Bytes in and out for the frames of all threads.

    Frames are bound to inputs and outputs here, and these to a tensor while its parts come by: a Source to the Reader
    of its file, a Sink to a Writer, each by way of what takes digests of all that passes.
    """

    def __init__(self, plan: Plan, sources: Mapping[Vector, Source], sinks: Mapping[str, Sink], *, loops: bool) -> None:
        self._plan = plan
        self._names = plan.layout.names
        self._sources = sources
        self._sinks = sinks
        self._lock = threading.Lock()
        self._stride = stride(plan)
        self._round = round_in_loop if loops else round_to
        looked_at = -(-plan.tile_base[-1] // self._stride)
        self._outcomes = {
            output.name: Outcome(parts=np.zeros((looked_at, 3)), sampled=self._stride > 1)
            for output in plan.request.outputs
        }
        # Of each entry: elements, changed, nonfinite.
        self._totals = {name: np.zeros((len(plan.layout), 3), np.int64) for name in self._outcomes}

    def reading(self, node: Vector, spans: Spans, out: np.ndarray, slot: str) -> tuple[Raw, Callable[[Spans], None]]:
        """What reads pieces of an input that look like these, in the compute dtype, into `out`.

        Also returns where they are as they are stored: after each reading, until `slot`, or `out`, is used again.
        """
        dtype = self._dtype(node, spans)
        if dtype.bits == out.dtype and dtype.is_native:
            return Raw(dtype, out), self._filling(node, out)
        bits = borrow(slot, out.shape, dtype.bits)
        fill, decode = self._filling(node, bits), convert.decoder(bits, dtype, out)

        def read(spans: Spans) -> None:
            fill(spans)
            decode()

        return Raw(dtype, bits), read

    def reading_stored(self, node: Vector, spans: Spans, size: int, slot: str) -> tuple[Raw, Callable[[Spans], None]]:
        """What reads pieces of an input that look like these, as they are stored, until `slot` is used again."""
        dtype = self._dtype(node, spans)
        bits = borrow(slot, (size,), dtype.bits)
        return Raw(dtype, bits), self._filling(node, bits)

    def _dtype(self, node: Vector, spans: Spans) -> DType:
        return self._sources[node].dtype(self._names[spans[0][0].entry])  # what shares a chunk is stored in one

    def _filling(self, node: Vector, bits: np.ndarray) -> Callable[[Spans], None]:
        source, names = self._sources[node], self._names
        fill = lru_cache(1)(lambda entry: source.reading(names[entry]))  # kept while the parts of a tensor come by

        def read(spans: Spans) -> None:
            if len(spans) == 1:
                piece = spans[0][0]
                fill(piece.entry)(piece.start, bits)
            else:
                source.read_tensors([names[piece.entry] for piece, _ in spans], [span for _, span in spans], bits)

        return read

    def writing(
        self, output: Output, values: np.ndarray, template: Raw | None = None
    ) -> Callable[[Spans], list[WrittenPart]]:
        """What writes pieces of an output that lie in `values`, but for those that it leaves out.

        Whatever the values and their template are when it is called: rounded once, and compared bit by bit.
        """
        sink, names = self._sinks[output.name], self._names
        dtype_of = lru_cache(1)(lambda entry: sink.dtype(names[entry]))
        put = lru_cache(1)(lambda entry: sink.writing(names[entry]))

        @cache
        def rounded_to(dtype: str, start: int, stop: int) -> Rounded:
            here = slice(start, stop)
            return self._round(values[here], DTYPES[dtype], template and template.part(here))

        def write(spans: Spans) -> list[WrittenPart]:
            found: list[WrittenPart] = []
            for dtype, run in _runs(spans, dtype_of):
                if dtype is None:
                    continue
                start, stop = run[0][1].start, run[-1][1].stop
                rounded = rounded_to(dtype.name, start, stop)
                for call in rounded.calls:
                    call()
                own = run if start == 0 else [(piece, _shifted(span, start)) for piece, span in run]
                piece = own[0][0]
                if len(own) == 1:
                    crcs: Sequence[int | None] = [put(piece.entry)(piece.start, rounded.raw.bits)]
                else:
                    tensors = [names[piece.entry] for piece, _ in own]
                    crcs = sink.write_tensors(tensors, [span for _, span in own], rounded.raw.bits)
                found.append(self._part(output, own, rounded, crcs))
            return found

        return write

    def _part(self, output: Output, spans: Spans, rounded: Rounded, crcs: Sequence[int | None]) -> WrittenPart:
        places: Sequence[int] = ()
        moments: Sequence[np.ndarray] = ()
        if rounded.template is not None:
            places, moments = self._moments(spans, rounded.values, rounded.template)
        return WrittenPart(output.name, _pieces(spans, rounded), crcs, rounded.raw.bits.nbytes, places, moments)

    def recall(self, found: Sequence[Written]) -> bool:
        """Whether all that an earlier run has written of a chunk is there; if so, it counts as written."""
        if any(written.crcs is None for written in found):
            return False
        there = all(self._sinks[written.output].holds(*place) for written in found for place in self._places(written))
        if there:
            self.adopt(found)
        return there

    def adopt(self, found: Sequence[Written]) -> None:
        """Let what is there count as written."""
        for written in found:
            for place in self._places(written):
                self._sinks[written.output].adopt(*place)

    def seen(self) -> list[Any]:
        """What sources and sinks have seen in this process, for `see_also` in another."""
        return [each.seen() for each in self._ends]

    def see_also(self, seen: Sequence[Any]) -> None:
        """Take in what sources and sinks have seen in a helper."""
        for each, own in zip(self._ends, seen, strict=True):
            each.see_also(own)

    @property
    def _ends(self) -> list[Source | Sink]:
        return [*self._sources.values(), *self._sinks.values()]

    def _places(self, written: Written) -> Iterator[tuple[str, int, int, int]]:
        """Name, first element, elements and checksum of each piece whose checksum is known."""
        if written.crcs is not None:
            for (entry, start, size), crc in zip(written.pieces[:, :3].tolist(), written.crcs.tolist(), strict=True):
                yield self._names[entry], start, size, crc

    def _moments(self, spans: Spans, values: np.ndarray, template: Raw) -> tuple[list[int], list[np.ndarray]]:
        """Moments of the change, by tile: no chunk or thread decides which tiles are looked at, or in which order."""
        looked_at = self._looked_at(spans)
        moments = []
        for here, count in alike([here for _, here in looked_at]):
            old = numbers_of(template.part(here), values.dtype).reshape(count, -1)
            change = borrow("stream.change", old.shape, values.dtype)
            np.subtract(values[here].reshape(count, -1), old, out=change)
            moments.append(REDUCTIONS["gram"].partial(change, old))
        return [place for place, _ in looked_at], moments

    def _looked_at(self, spans: Spans) -> list[tuple[int, slice]]:
        """The tiles that count for the relative change and cosine: the number among them, and where each lies."""
        found, plan, every = [], self._plan, self._stride
        for piece, span in spans:
            base = plan.tile_base[piece.entry]
            first, last = -(-(base + piece.first_tile) // every), (base + piece.last_tile) // every
            for place in range(first, last + 1):
                start, stop = tile_span(plan.layout.entries[piece.entry], place * every - base)
                offset = span.start - piece.start
                found.append((place, slice(start + offset, stop + offset)))
        return found

    def count(self, written: Written) -> None:
        """Add pieces to the outcome."""
        self._outcomes[written.output].parts[written.places] = written.moments
        with self._lock:
            np.add.at(self._totals[written.output], written.pieces[:, 0], written.pieces[:, 2:])

    def outcomes(self) -> Mapping[str, Outcome]:
        """What each output turned out to be."""
        for name, totals in self._totals.items():
            there = np.flatnonzero(totals[:, 0])
            names = (self._names[entry] for entry in there)
            self._outcomes[name].tensors = dict(zip(names, map(Change, *totals[there].T.tolist()), strict=True))
        return self._outcomes


def _pieces(spans: Spans, rounded: Rounded) -> list[tuple[int, int, int, int, int]]:
    """What `Written` says of pieces that lie one after the other."""
    raw, differ, is_nonfinite = rounded.raw, rounded.differ, rounded.is_nonfinite()
    found = []
    for piece, span in spans:
        size = changed = span.stop - span.start
        if differ is not None:
            changed = np.count_nonzero(differ[span])
        nonfinite = convert.nonfinite(raw.bits[span], raw.dtype) if is_nonfinite else 0
        found.append((piece.entry, piece.start, size, changed, nonfinite))
    return found


def _runs(spans: Spans, dtype: Callable[[int], DType | None]) -> list[tuple[DType | None, Spans]]:
    """Neighbours of one dtype, which are converted together: a conversion costs more than a small tensor."""
    if len(spans) == 1:  # a part of a large tensor, of which there are many
        return [(dtype(spans[0][0].entry), spans)]
    return [(found, list(run)) for found, run in groupby(spans, key=lambda span: dtype(span[0].entry))]


def _shifted(span: slice, start: int) -> slice:
    return slice(span.start - start, span.stop - start)
