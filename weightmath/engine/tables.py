"""Statistics while they are being computed and when they are known.

Partial states are kept per tile of a tensor until the tensor is complete, folded in tile order to one state per tensor
(or per long row), and those in flat order to one per cell: the fixed order that makes results independent of chunks,
threads and the order of work.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from weightmath.algebra.graph import Vector
from weightmath.engine.plan import WHOLE_TENSOR, Plan
from weightmath.kernels import whole
from weightmath.kernels.reduce import REDUCTIONS, Reduction
from weightmath.layout import Entry
from weightmath.scope import Domain, rows_are_cut, tile_count


class Tables:
    """All statistics of one run, by node and by cell or entry."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._lock = threading.Lock()
        self._tiles: dict[tuple[Vector, int], np.ndarray] = {}  # states per tile of entries in work
        self._entries: dict[Vector, dict[int, np.ndarray]] = {}  # states per entry of wide statistics
        self._gathered: dict[tuple[Vector, int], dict[int, np.ndarray]] = {}  # whole tensors in work
        self.local: dict[Vector, dict[int, Any]] = {}  # values per entry: a number, an array, or cuts per row
        self.wide: dict[Vector, dict[int, Any]] = {}  # values per cell

    def states(self, node: Vector, entry: int) -> np.ndarray:
        """States (tiles, size) of an entry, to be filled tile by tile."""
        shape = self.plan.layout.entries[entry]
        with self._lock:
            found = self._tiles.get((node, entry))
            if found is None:
                found = REDUCTIONS[node.op].empty(tile_count(shape), len(node.args))
                self._tiles[node, entry] = found
            return found

    def gathered(self, node: Vector, entry: int, position: int, dtype: np.dtype) -> np.ndarray:
        """Room for a whole tensor (1-D), the operand of that position, to be filled piece by piece."""
        with self._lock:
            operands = self._gathered.setdefault((node, entry), {})
            if position not in operands:
                operands[position] = np.empty(self.plan.layout.entries[entry].size, dtype)
            return operands[position]

    def complete(self, node: Vector, entry: int) -> None:
        """All tiles of an entry are in: fold them, and finish what is local."""
        shape = self.plan.layout.entries[entry]
        if (node, entry) in self._gathered:
            operands = [operand for _, operand in sorted(self._gathered.pop((node, entry)).items())]
            made = whole.evaluate(node, [operand.reshape(shape.shape) for operand in operands])
            self.keep(node, entry, made.reshape(-1).astype(self.plan.compute_dtypes[entry].bits))
            return
        reduction = REDUCTIONS[node.op]
        states = self._tiles.pop((node, entry), None)
        rows = shape.rows if node.domain == Domain.ROW and rows_are_cut(shape) else 1
        folded = _fold_tiles(reduction, states, rows, len(node.args))
        if node.domain >= Domain.TENSOR:
            finished = reduction.finish(folded)
            self.keep(node, entry, finished if node.domain == Domain.ROW else _plain(finished[0]))
        else:
            with self._lock:
                self._entries.setdefault(node, {})[entry] = folded

    def keep(self, node: Vector, entry: int, value: Any) -> None:
        """Remember the value of a statistic, or a whole tensor, of an entry."""
        with self._lock:
            self.local.setdefault(node, {})[entry] = value

    def keep_rows(self, node: Vector, entry: int, first: int, values: np.ndarray) -> None:
        """Remember the values of a statistic for some rows of an entry, from row `first` on."""
        with self._lock:
            rows = self.local.setdefault(node, {}).setdefault(entry, np.zeros(self.plan.layout.entries[entry].rows))
        rows[first : first + values.size] = values.reshape(-1)

    def forget(self, nodes: Sequence[Vector], entries: Sequence[int]) -> None:
        """Drop the whole tensors among these nodes' values: no later round needs them."""
        with self._lock:
            for node in nodes:
                if node.op in WHOLE_TENSOR:
                    for entry in entries:
                        self.local.get(node, {}).pop(entry, None)

    def finish_wide(self, node: Vector) -> None:
        """All entries are in: fold them to cells, in flat order."""
        cells, of_entry = self.plan.cells[node.option("scope")]
        reduction = REDUCTIONS[node.op]
        states = [reduction.empty(1, len(node.args)) for _ in cells]
        for entry, state in sorted(self._entries.pop(node, {}).items()):
            states[of_entry[entry]] = reduction.fold(states[of_entry[entry]], state)
        self.wide[node] = {cell: _plain(reduction.finish(state)[0]) for cell, state in enumerate(states)}

    def value(self, node: Vector, entry: int) -> Any:
        """The value of a known statistic for an entry: its own, or its cell's; of no elements for an empty cell."""
        if node.domain >= Domain.TENSOR:
            known, place = self.local, entry
        else:
            known, place = self.wide, self.plan.cells[node.option("scope")][1][entry]
        if place in known.get(node, {}):
            return known[node][place]
        shape = self.plan.layout.entries[entry]
        if shape.size and self.plan.counts(node, entry):
            raise AssertionError(f"`{node}` of `{shape.name}` is needed before it is known")
        return _of_nothing(node, shape)


def _of_nothing(node: Vector, shape: Entry) -> Any:
    """A statistic of no elements, or of rows that no operand has."""
    rows = shape.rows if node.domain == Domain.ROW else 1
    reduction = REDUCTIONS.get(node.op)
    finished = np.zeros(rows) if reduction is None else reduction.finish(reduction.empty(rows, len(node.args)))
    return finished if node.domain == Domain.ROW else _plain(finished[0])


def _plain(value: np.ndarray) -> Any:
    return float(value) if value.ndim == 0 else value


def _fold_tiles(reduction: Reduction, states: np.ndarray | None, rows: int, vectors: int) -> np.ndarray:
    """One state per row of equally many tiles, folded in tile order; an empty tensor has the state of nothing."""
    if states is None or len(states) == 0:
        return reduction.empty(rows, vectors)
    by_row = states.reshape(rows, len(states) // rows, states.shape[1])
    return reduce(reduction.fold, (by_row[:, i] for i in range(by_row.shape[1])))
