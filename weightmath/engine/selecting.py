"""Steps of selections: keys of the values, cuts of cells within a chunk, and what a cut says of each element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from weightmath.algebra.graph import Vector
from weightmath.engine.frame import Frame, Slots, Step
from weightmath.engine.tables import quantile_of
from weightmath.kernels.bracket import mask_tile
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
        mask = borrow("selecting.mask", frame.shape, bool)
        keys = keys_of(cut_node, frame, at.args[0])
        if isinstance(found, tuple):
            thresholds, ties = found
            mask_rows(cells_of(cut_node, keys), thresholds, ties, cells_of(cut_node, mask))
        else:
            _mask_tiles(cut_node, frame, keys.reshape(-1), found, mask.reshape(-1))
        result = frame.values[at.out]
        if node.op == "keep":
            select(result, np.ascontiguousarray(values, dtype=frame.dtype), mask)
        else:
            np.copyto(result, mask)

    return step


def _mask_tiles(cut_node: Vector, frame: Frame, keys: np.ndarray, cuts: Sequence[Any], mask: np.ndarray) -> None:
    """Mask by the cuts in the tables, one for each piece, or for each of its rows."""
    own = {piece.entry: found for piece, found in zip(frame.pieces, cuts, strict=True)}
    for piece, number, one, here in frame.tiles():
        found = own[piece.entry]
        base = 0 if frame.plan.local(cut_node, piece.entry) else frame.plan.tile_base[piece.entry]
        of_row = found[one.row if cut_node.domain == Domain.ROW else 0] if isinstance(found, list) else found
        mask_tile(keys[here], of_row, base + number, mask[here])
