"""What one worker holds while it computes one chunk, and how steps read the values in it.

A value is a number, one number per row as (rows, 1), or one per element in the chunk's shape. Statistics are float64
until they meet a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from weightmath.algebra.graph import Vector
from weightmath.dtypes import DTYPES, DType
from weightmath.engine.plan import Plan
from weightmath.engine.tables import Tables
from weightmath.layout import Entry
from weightmath.scope import TILE, Tile, rows_are_cut, tile, tile_count, tile_span


@dataclass(frozen=True)
class Piece:
    """A run of whole tiles of one tensor within a chunk."""

    entry: int
    first_tile: int
    last_tile: int  # the last one included
    start: int  # elements, counted within the tensor
    stop: int
    row: int  # the first row


def pieces(entry: int, shape: Entry, chunk: int) -> Iterator[Piece]:
    """A tensor as pieces of whole tiles of up to `chunk` elements; a piece of a cut row stays within the row."""
    count = tile_count(shape)
    together = max(1, chunk // TILE)
    of_row = count // shape.rows if rows_are_cut(shape) else count
    for first in range(0, count, of_row or 1):
        for start in range(first, first + of_row, together):
            yield piece_of(entry, shape, start, min(start + together, first + of_row) - 1)


def piece_of(entry: int, shape: Entry, first: int, last: int) -> Piece:
    """The piece that consists of the tiles from `first` to `last`, which is included."""
    start, stop = tile_span(shape, first)[0], tile_span(shape, last)[1]
    return Piece(entry, first, last, start, stop, start // shape.row_size)


class Raw(NamedTuple):
    """Elements as they are stored."""

    dtype: DType
    bits: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Raw:
        """Numbers that are stored nowhere, as they would be."""
        return cls(DTYPES[values.dtype.name], values)

    def part(self, here: slice) -> Raw:
        """Some of them."""
        return Raw(self.dtype, self.bits[here])


@dataclass
class Frame:
    """What one worker holds while it computes one chunk: a piece of one tensor, or several small tensors whole."""

    plan: Plan
    tables: Tables
    io: Any
    selections: Mapping[Vector, Any] = field(default_factory=dict)  # from wide cells, that are under way
    pieces: Sequence[Piece] = ()
    shape: tuple[int, int] = (0, 0)
    dtype: np.dtype = field(default_factory=lambda: np.dtype(np.float32))
    values: list[Any] = field(default_factory=list)
    stored: dict[int, Raw] = field(default_factory=dict)  # templates that are inputs, by slot
    traces: list[Any] = field(default_factory=list)  # what this chunk leaves behind: see weightmath.engine.traces
    nbytes: int = 0  # read and written

    def per_piece(self, values: Sequence[float]) -> Any:
        """One number per piece, as an operand: a number, or one number for each element."""
        if len(set(values)) == 1:
            return values[0]
        # In float64: what statistics are multiplied with must not depend on who shares the chunk.
        return np.repeat(np.array(values), [piece.stop - piece.start for piece in self.pieces])[None, :]

    def operand(self, slot: int) -> Any:
        """A value as an operand of an element kernel: arrays rounded once to the compute dtype."""
        value = self.values[slot]
        if isinstance(value, float) or value.dtype == self.dtype:
            return value
        return value.astype(self.dtype)

    def elements(self, slot: int) -> np.ndarray:
        """A value as one number per element: reducing a statistic counts elements."""
        value = self.values[slot]
        if isinstance(value, np.ndarray) and value.shape == self.shape:
            return value
        return np.broadcast_to(np.asarray(value), self.shape)

    @cached_property
    def spans(self) -> list[tuple[Piece, slice]]:
        """Where each piece lies in the flat chunk."""
        spans, at = [], 0
        for piece in self.pieces:
            spans.append((piece, slice(at, at + piece.stop - piece.start)))
            at += piece.stop - piece.start
        return spans

    def tiles(self) -> Iterator[tuple[Piece, int, Tile, slice]]:
        """Each tile: the piece it is of, its number within the tensor, itself, and where it lies in the flat chunk."""
        for piece, span in self.spans:
            entry = self.plan.layout.entries[piece.entry]
            offset = span.start - piece.start
            for number in range(piece.first_tile, piece.last_tile + 1):
                one = tile(entry, number)
                yield piece, number, one, slice(one.start + offset, one.stop + offset)


Step = Callable[[Frame], None]


@dataclass(frozen=True)
class Places:
    """Where a step finds the values of its operands, and puts its own: an array is there already if that is a vector.

    plain   whether all operands are there beforehand too, as kernels take them: such arrays, or constants
    """

    out: int
    args: tuple[int, ...] = ()
    plain: bool = False
