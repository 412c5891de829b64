"""Steps of selections: keys of the values, cuts of cells within a chunk, and what a cut says of each element.

A cell within one tile is cut where it is used. A larger tensor of up to GATHER_LIMIT elements goes through a round
before, which holds the keys of all of it; what is larger still, or wider than a tensor, is searched through.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from weightmath.algebra.graph import Vector
from weightmath.engine.frame import Frame, Slots, Step
from weightmath.engine.plan import GATHER_LIMIT, Plan
from weightmath.engine.traces import Kept
from weightmath.kernels.bracket import Cut, keep_tile, mask_tile, trivial_cut
from weightmath.kernels.elementwise import select
from weightmath.kernels.scratch import borrow
from weightmath.kernels.select import (
    cut_of,
    descending,
    keep_count,
    key_dtype,
    magnitude_keys,
    mask_rows,
    quantile_rows,
    threshold_rows,
    value_keys,
)
from weightmath.layout import Entry
from weightmath.scope import Domain, tile_at, tile_span


def cells_of(node: Vector, values: np.ndarray) -> np.ndarray:
    """The chunk as (cells, elements): rows, or the whole tensor as one cell."""
    return values if node.domain == Domain.ROW else values.reshape(1, -1)


def keys_of(node: Vector, frame: Frame, slot: int, out: np.ndarray | None = None) -> np.ndarray:
    """The keys that a selection orders the values in a slot by, in the chunk's shape; in memory that is reused."""
    dtype = frame.plan.key_dtype(node, frame.pieces[0].entry)
    values = np.ascontiguousarray(frame.elements(slot), dtype=dtype)
    keys = borrow("selecting.keys", values.shape, key_dtype(dtype)) if out is None else out
    if node.op == "quantile":
        return value_keys(values, out=keys)
    magnitude_keys(values, out=keys)
    return descending(keys, out=keys) if node.option("order") == "smallest" else keys


def quantile(node: Vector, at: Slots) -> Step:
    """The quantile of each cell within the chunk."""

    def step(frame: Frame) -> None:
        values = quantile_rows(cells_of(node, keys_of(node, frame, at.args[0])), node.option("q"))
        frame.values[at.out] = values[:, None] if node.domain == Domain.ROW else float(values[0])

    return step


def cut(node: Vector, at: Slots) -> Step:
    """Threshold and number of ties for each cell within the chunk."""

    def step(frame: Frame) -> None:
        keys = cells_of(node, keys_of(node, frame, at.args[0]))
        k = kept_of(node, frame.pieces[0].entry, keys.shape[1], frame.plan)
        frame.values[at.out] = threshold_rows(keys, k, loops=in_loops(node, frame))

    return step


def gather(number: int, node: Vector, slot: int) -> Step:
    """The cuts or quantiles of a tensor that one thread goes through part by part, once the last part is there.

    number   of this one among the selections that are gathered together
    """

    def step(frame: Frame) -> None:
        piece = frame.pieces[0]
        entry = frame.plan.layout.entries[piece.entry]
        dtype = key_dtype(frame.plan.key_dtype(node, piece.entry))
        keys = borrow(f"selecting.gathered.{number}", (GATHER_LIMIT,), dtype)[: entry.size]
        keys_of(node, frame, slot, out=keys[piece.start : piece.stop].reshape(frame.shape))
        if piece.stop == entry.size:
            frame.traces.append(Kept(node, piece.entry, _of_tensor(node, frame, entry, keys)))

    return step


def search(node: Vector, slot: int) -> Step:
    """The values in a slot for the search that this thread is at, through the tensor at hand."""
    return lambda frame: frame.searches[node](frame, slot)


def _of_tensor(node: Vector, frame: Frame, entry: Entry, keys: np.ndarray) -> Any:
    """The quantile or cut of a tensor whose keys are all there; an array or list of those of its rows."""
    row = entry.row_size if node.domain == Domain.ROW else entry.size
    if node.op == "quantile":
        values = quantile_rows(keys.reshape(-1, row), node.option("q"))
        return values if node.domain == Domain.ROW else float(values[0])
    k = kept_of(node, frame.pieces[0].entry, row, frame.plan)
    loops = in_loops(node, frame)
    found = [_cut(keys[start : start + row], k, start, entry, loops=loops) for start in range(0, entry.size, row)]
    return found if node.domain == Domain.ROW else found[0]


def _cut(keys: np.ndarray, k: int, offset: int, entry: Entry, *, loops: bool) -> Cut:
    """The cut of a cell that begins there in its tensor: the tile of the last tie, and the ties within that tile."""
    trivial = trivial_cut(keys.size, k, keys.dtype)
    if trivial is not None:
        return trivial
    threshold, _, last = cut_of(keys, k, loops=loops)
    number = tile_at(entry, offset + last)
    first = tile_span(entry, number)[0] - offset
    return Cut(threshold, number, int(np.count_nonzero(keys[first : last + 1] == threshold)))


def kept_of(cut_node: Vector, entry: int, size: int, plan: Plan) -> int:
    """How many elements a cut keeps of a cell of so many, which has that entry."""
    return keep_count(float(plan.facts.static[cut_node.args[1]][entry]), size)


def keep(node: Vector, at: Slots) -> Step:
    """`keep` and `largest_mask`: what a cut says of each element."""
    cut_node = node.args[1]

    def step(frame: Frame) -> None:
        values, found = frame.elements(at.args[0]), frame.values[at.args[1]]
        if node.op == "keep" and not isinstance(found, tuple) and in_loops(cut_node, frame):
            flat, result = np.ascontiguousarray(values).reshape(-1), frame.values[at.out].reshape(-1)
            for one, number, here in _tiles_with_cuts(cut_node, frame, found):
                keep_tile(flat[here], one, number, result[here])
            return
        mask = borrow("selecting.mask", frame.shape, bool)
        keys = keys_of(cut_node, frame, at.args[0])
        if isinstance(found, tuple):
            thresholds, ties = found
            mask_rows(cells_of(cut_node, keys), thresholds, ties, cells_of(cut_node, mask))
        else:
            for one, number, here in _tiles_with_cuts(cut_node, frame, found):
                mask_tile(keys.reshape(-1)[here], one, number, mask.reshape(-1)[here])
        result = frame.values[at.out]
        if node.op == "keep":
            select(result, np.ascontiguousarray(values, dtype=frame.dtype), mask)
        else:
            np.copyto(result, mask)

    return step


def in_loops(cut_node: Vector, frame: Frame) -> bool:
    """Whether loops of machine code select by this cut: the largest magnitudes, in the dtype of their cells."""
    dtype = frame.plan.key_dtype(cut_node, frame.pieces[0].entry)
    return frame.loops and cut_node.op == "cut" and cut_node.option("order") == "largest" and dtype == frame.dtype


def _tiles_with_cuts(cut_node: Vector, frame: Frame, cuts: Sequence[Any]) -> Iterator[tuple[Cut, int, slice]]:
    """For each tile its cut, of those in the tables, its number within the cut's cell, and where it lies.

    cuts   one for each piece, or for each of its rows
    """
    own = {piece.entry: found for piece, found in zip(frame.pieces, cuts, strict=True)}
    for piece, number, one, here in frame.tiles():
        found = own[piece.entry]
        of_row = found[one.row] if isinstance(found, list) else found
        yield of_row, tile_in_cell(cut_node, piece.entry, number, frame.plan), here


def tile_in_cell(cut_node: Vector, entry: int, number: int, plan: Plan) -> int:
    """The number of a tile among those that cells may consist of: of its tensor, or of the model."""
    return number if cut_node.domain >= Domain.TENSOR else plan.tile_base[entry] + number
