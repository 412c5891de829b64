"""A chunk of one tensor is read and written at once, and computed in parts that fit the processor's cache.

To a program a part is a frame like any other; only its bytes come from, and go to, the buffers of the chunk. Measured:
steps cost twice as much per element where the arrays that they share have left the cache, and what surrounds a chunk
(calls of the system, checksums, the journal) costs as much as the arithmetic of a small one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from weightmath.algebra.graph import Vector
from weightmath.engine.frame import Piece
from weightmath.engine.plan import Output
from weightmath.engine.stream import Io, Raw, Spans, unequal
from weightmath.engine.traces import Written
from weightmath.kernels import convert
from weightmath.kernels.scratch import borrow


@dataclass
class _Output:
    output: Output
    raw: Raw
    parts: list[Written] = field(default_factory=list)


class BufferedIo:
    """What `Io` is to a frame, for the parts of one piece of a tensor; reads the piece when it is made."""

    def __init__(self, io: Io, piece: Piece, reads: Sequence[Vector]) -> None:
        self._io = io
        self._piece = piece
        self._raws: dict[Vector, Raw] = {}
        for number, node in enumerate(reads):
            dtype = io.dtype_of_source(node, piece)
            bits = borrow(f"buffered.in.{number}", (piece.stop - piece.start,), dtype.bits)
            io.fetch(node, piece, bits)
            self._raws[node] = Raw(dtype, bits)
        self._found: dict[str, _Output] = {}

    def read(self, node: Vector, spans: Spans, out: np.ndarray, slot: str = "") -> tuple[int, Raw]:
        """A part of an input, in the compute dtype; the bytes read, and the part as it is stored."""
        whole = self._raws[node]
        raw = whole.part(self._place(spans))
        convert.decode(raw.bits, raw.dtype, out)
        return raw.bits.nbytes, raw

    def write(
        self, output: Output, spans: Spans, values: np.ndarray, before: np.ndarray | None, stored: Raw | None = None
    ) -> tuple[()]:
        """A part of an output: rounded once and compared with its template, as `Io.write` does; written later."""
        if output.name not in self._found:
            dtype = self._io.dtype_of_sink(output, self._piece)
            if dtype is None:
                return ()
            bits = borrow(f"buffered.out.{len(self._found)}", (self._piece.stop - self._piece.start,), dtype.bits)
            self._found[output.name] = _Output(output, Raw(dtype, bits))
        found = self._found[output.name]
        raw = found.raw.part(self._place(spans))
        convert.encode(values, raw.dtype, raw.bits)
        change = None if before is None else (values, before, unequal(raw, before, stored))
        found.parts.append(self._io.measured(output, spans, raw, change))
        return ()

    def flush(self) -> list[Written]:
        """Write the outputs; what was written of each."""
        return [
            _together(found.parts, self._io.send(found.output, self._piece, found.raw.bits))
            for found in self._found.values()
        ]

    def _place(self, spans: Spans) -> slice:
        ((part, _),) = spans
        return slice(part.start - self._piece.start, part.stop - self._piece.start)


def _together(parts: Sequence[Written], crc: int | None) -> Written:
    """Neighbours as one, with its checksum."""
    piece = parts[0].pieces.copy()
    piece[0, 2:] = sum(part.pieces[0, 2:] for part in parts)
    return parts[0]._replace(
        pieces=piece,
        crcs=None if crc is None else np.array([crc], np.int64),
        nbytes=sum(part.nbytes for part in parts),
        places=np.concatenate([part.places for part in parts]),
        moments=np.concatenate([part.moments for part in parts]),
    )
