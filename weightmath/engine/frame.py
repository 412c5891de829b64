"""What one worker holds while it computes chunks of one shape, and how steps read the values in it.

A frame goes from part to part of a chunk. Its arrays stay where they are, so that a step whose operands are arrays can
be made ready once: Python that is run for each part costs as much as arithmetic, as the part's numbers have driven it
out of the processor's cache.

A value is a number, one number per row as (rows, 1), or one per element in the chunk's shape. Statistics are float64
until they meet a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from weightmath.algebra.graph import Vector
from weightmath.dtypes import DTYPES, DType
from weightmath.engine.plan import Plan
from weightmath.engine.tables import Tables
from weightmath.layout import Entry
from weightmath.scope import TILE, Tile, rows_are_cut, tile, tile_count, tile_span, tiles_of


class Piece(NamedTuple):
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
    if count == 1:  # of a hundred thousand tensors nearly all
        yield Piece(entry, 0, 0, 0, shape.size, 0)
        return
    together = max(1, chunk // TILE)
    of_row = count // shape.rows if rows_are_cut(shape) else count
    for first in range(0, count, of_row or 1):
        for start in range(first, first + of_row, together):
            yield piece_of(entry, shape, start, min(start + together, first + of_row) - 1)


def piece_of(entry: int, shape: Entry, first: int, last: int) -> Piece:
    """The piece that consists of the tiles from `first` to `last`, which is included."""
    start, stop = tile_span(shape, first)[0], tile_span(shape, last)[1]
    return Piece(entry, first, last, start, stop, start // shape.row_size)


def packs(pieces: Sequence[Piece]) -> Iterator[tuple[Piece, ...]]:
    """Pieces in their order, as many at a time as a tile has room for; one where it is larger."""
    pack: list[Piece] = []
    size = 0
    for piece in pieces:
        size += piece.stop - piece.start
        if pack and size > TILE:
            yield tuple(pack)
            pack, size = [], piece.stop - piece.start
        pack.append(piece)
    yield tuple(pack)


def parts(whole: Piece, shape: Entry, together: int) -> Iterator[tuple[tuple[int, int], Piece]]:
    """A piece in runs of up to so many tiles, and the shape of each: (rows, columns)."""
    tiles, row, is_cut = tiles_of(shape, whole.start, whole.stop), shape.row_size, rows_are_cut(shape)
    for at in range(0, len(tiles), together):
        first, start, _ = tiles[at]
        last, _, stop = tiles[min(at + together, len(tiles)) - 1]
        size = stop - start
        yield (1, size) if is_cut else (size // row, row), Piece(whole.entry, first, last, start, stop, start // row)


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
    """What one worker holds while it computes chunks: a piece of one tensor each, or several small tensors whole."""

    plan: Plan
    tables: Tables
    io: Any
    shape: tuple[int, int]
    dtype: np.dtype
    loops: bool
    searches: Mapping[Vector, Callable[[Frame, int], object]]  # that this thread is at, by the selections
    pieces: Sequence[Piece] = ()
    values: list[Any] = field(default_factory=list)
    stored: dict[int, Raw] = field(default_factory=dict)  # templates that are inputs, by slot
    spans: list[tuple[Piece, slice]] = field(default_factory=list)  # where each piece lies in the flat chunk
    traces: list[Any] = field(default_factory=list)  # what this chunk leaves behind: see weightmath.engine.traces
    nbytes: int = 0  # read and written
    _tiles: list[tuple[Piece, int, Tile, slice]] = field(default_factory=list)
    _tile_rows: list[tuple[slice, int]] = field(default_factory=list)

    def go_to(self, pieces: Sequence[Piece]) -> None:
        """Start with the next chunk, of the same shape."""
        self.pieces = pieces
        self.traces = []
        self.nbytes = 0
        self.spans = []
        self._tiles = []
        self._tile_rows = []
        at = 0
        for piece in pieces:
            self.spans.append((piece, slice(at, at + piece.stop - piece.start)))
            at += piece.stop - piece.start

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

    def tiles(self) -> Sequence[tuple[Piece, int, Tile, slice]]:
        """Each tile: the piece it is of, its number within the tensor, itself, and where it lies in the flat chunk."""
        if not self._tiles:  # several selections ask for them
            for piece, span in self.spans:
                entry = self.plan.layout.entries[piece.entry]
                offset = span.start - piece.start
                for number in range(piece.first_tile, piece.last_tile + 1):
                    one = tile(entry, number)
                    self._tiles.append((piece, number, one, slice(one.start + offset, one.stop + offset)))
        return self._tiles

    def tile_rows(self) -> Sequence[tuple[slice, int]]:
        """Runs of tiles of one size, as rows: where a run lies in the flat chunk, and how many tiles it has."""
        if not self._tile_rows:
            tiles: list[slice] = []
            for piece, span in self.spans:
                offset = span.start - piece.start
                places = tiles_of(self.plan.layout.entries[piece.entry], piece.start, piece.stop)
                tiles += [slice(start + offset, stop + offset) for _, start, stop in places]
            self._tile_rows = alike(tiles)
        return self._tile_rows


def alike(tiles: Sequence[slice]) -> list[tuple[slice, int]]:
    """Runs of tiles of one size that lie one after the other: where a run lies, and how many tiles it has."""
    runs: list[tuple[slice, int]] = []
    for one in tiles:
        run, count = runs[-1] if runs else (slice(0, 0), 0)
        if count and one.start == run.stop and (one.stop - one.start) * count == run.stop - run.start:
            runs[-1] = slice(run.start, one.stop), count + 1
        else:
            runs.append((one, 1))
    return runs


Call = Callable[[], object]
Home = str | float | None  # the register of a vector, a constant, or None: a step puts a value there


@dataclass(frozen=True)
class Bound:
    """A step that is made ready once for a frame, and then called for each of its chunks."""

    bind: Callable[[Frame], Call]


Step = Bound | Callable[[Frame], object]


@dataclass(frozen=True)
class Slots:
    """Where a step finds the values of its operands, and puts its own: an array is there already if that is a vector.

    plain   whether all operands are there beforehand too, as kernels take them: such arrays, or constants
    """

    out: int
    args: tuple[int, ...] = ()
    plain: bool = False
