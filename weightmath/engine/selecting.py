"""Steps of selections: keys of the values, cuts of cells within a chunk, and what a cut says of each element."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from weightmath.algebra.graph import Vector
from weightmath.engine.frame import Frame, Slots, Step
from weightmath.engine.tables import quantile_of
from weightmath.kernels.bracket import Cut, keep_tile, mask_tile
from weightmath.kernels.elementwise import select
from weightmath.kernels.scratch import borrow
from weightmath.kernels.select import (
    descending,
    keep_count,
    key_dtype,
    magnitude_keys,
    mask_rows,
    threshold_rows,
    value_keys,
)
from weightmath.scope import Domain


def cells_of(node: Vector, values: np.ndarray) -> np.ndarray:
    """The chunk as (cells, elements): rows, or the whole tensor as one cell."""
    return values if node.domain == Domain.ROW else values.reshape(1, -1)


def keys_of(node: Vector, frame: Frame, slot: int) -> np.ndarray:
    """The keys that a selection orders the values in a slot by, in the chunk's shape; in memory that is reused."""
    dtype = frame.plan.key_dtype(node, frame.pieces[0].entry)
    values = np.ascontiguousarray(frame.elements(slot), dtype=dtype)
    keys = borrow("selecting.keys", values.shape, key_dtype(dtype))
    if node.op == "quantile":
        return value_keys(values, out=keys)
    magnitude_keys(values, out=keys)
    return descending(keys, out=keys) if node.option("order") == "smallest" else keys


def quantile(node: Vector, at: Slots) -> Step:
    """The quantile of each cell within the chunk."""

    def step(frame: Frame) -> None:
        values = quantile_of(cells_of(node, keys_of(node, frame, at.args[0])), node.option("q"))
        frame.values[at.out] = values[:, None] if node.domain == Domain.ROW else float(values[0])

    return step


def cut(node: Vector, at: Slots) -> Step:
    """Threshold and number of ties for each cell within the chunk."""

    def step(frame: Frame) -> None:
        keys = cells_of(node, keys_of(node, frame, at.args[0]))
        density = float(frame.plan.facts.static[node.args[1]][frame.pieces[0].entry])
        frame.values[at.out] = threshold_rows(keys, keep_count(density, keys.shape[1]))

    return step


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
        base = 0 if frame.plan.local(cut_node, piece.entry) else frame.plan.tile_base[piece.entry]
        of_row = found[one.row if cut_node.domain == Domain.ROW else 0] if isinstance(found, list) else found
        yield of_row, base + number, here
