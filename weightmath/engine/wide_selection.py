"""Selections from cells that are larger than memory, or wider than a tensor, as one reading after another.

One `Selector` per cell; this module says which tiles belong to which cell, which are sampled, and where in the run a
cut lies.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_right
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from weightmath.algebra.graph import Vector
from weightmath.engine.frame import Frame, Step
from weightmath.engine.plan import Plan
from weightmath.engine.selecting import in_loops, keys_of
from weightmath.engine.traces import Tallied
from weightmath.kernels.bracket import BUDGET, Cut, Tally, sample_ranges, tally, tally_magnitudes, trivial_cut
from weightmath.kernels.select import interpolate, keep_count, key_dtype, quantile_rank, value_of
from weightmath.kernels.selector import Selector
from weightmath.scope import Domain, tile, tile_count

# Bins take as much, so that less would save nothing.
_LEAST_BUDGET = 1 << 19


def budget_of(cells: int) -> int:
    """Bytes of keys that each of so many cells may hold at a time."""
    return max(BUDGET // max(cells, 1), _LEAST_BUDGET)


class _Cell:
    """One cell: its size, its tiles in flat order, and its selector once the size is known."""

    def __init__(self) -> None:
        self.size = 0
        self.starts: list[int] = []  # first element of each tile, counted within the cell
        self.tiles: list[tuple[int, int]] = []  # entry and tile number
        self.selector: Selector | None = None
        self.blocks: dict[tuple[int, int, int], np.ndarray] = {}  # of the sample, by entry, tile and start
        self.awaited = 0  # blocks that are still to come
        self.value: Any = None

    def add(self, entry: int, number: int, elements: int) -> None:
        self.starts.append(self.size)
        self.tiles.append((entry, number))
        self.size += elements

    def sampled(self, itemsize: int, budget: int) -> list[tuple[tuple[int, int], slice]]:
        """What to sample with so many bytes of keys: a tile, and the part of it."""
        parts = []
        for start, stop in sample_ranges(self.size, itemsize, budget):
            place = bisect_right(self.starts, start) - 1
            while place < len(self.starts) and self.starts[place] < stop:
                begin = self.starts[place]
                parts.append((self.tiles[place], slice(max(start - begin, 0), stop - begin)))
                place += 1
        return parts


class WideSelection:
    """The cells of one `cut` or `quantile` node, while the model is read."""

    def __init__(self, node: Vector, plan: Plan) -> None:
        self.node = node
        self.plan = plan
        self.argument = node.args[0]
        self._cells: dict[Hashable, _Cell] = {}
        for entry, shape in enumerate(plan.layout):
            if self._has(entry):
                for number in range(tile_count(shape)):
                    one = tile(shape, number)
                    self._cells.setdefault(self._cell_of(entry, one.row), _Cell()).add(
                        entry, number, one.stop - one.start
                    )
        # One dtype for all cells: that of the widest tensor among them.
        widths = [plan.key_dtype(node, cell.tiles[0][0]).itemsize for cell in self._cells.values()]
        self._keys = key_dtype(f"f{max(widths, default=4)}")
        self._samples: dict[int, dict[int, list[slice]]] = {}
        self._lock = threading.Lock()
        for cell in self._cells.values():
            self._begin(cell)

    def _has(self, entry: int) -> bool:
        """Whether this entry's elements are selected from here."""
        shape = self.plan.layout.entries[entry]
        return shape.size > 0 and not self.plan.local(self.node, entry) and self.plan.counts(self.node, entry)

    def takes(self, entry: int) -> bool:
        """Whether a reading must show this entry's elements: some cell of it has no result yet."""
        if not self._has(entry):
            return False
        rows = self.plan.layout.entries[entry].rows if self.node.domain == Domain.ROW else 1
        return any(self._cells[self._cell_of(entry, row)].value is None for row in range(rows))

    def sampled_tiles(self, entry: int) -> tuple[int, ...]:
        """Tiles of this entry that the sample needs."""
        return tuple(self._samples.get(entry, ()))

    def step(self, slot: int, *, sampling: bool) -> Step:
        """The step that takes the values in a slot: samples them, or counts them."""

        def step(frame: Frame) -> None:
            found = []
            loops = not sampling and in_loops(self.node, frame)
            values = np.ascontiguousarray(frame.elements(slot)) if loops else keys_of(self.node, frame, slot)
            count, flat = tally_magnitudes if loops else tally, values.reshape(-1)
            for piece, number, one, here in frame.tiles():
                cell = self._cells[self._cell_of(piece.entry, one.row)]
                if sampling:
                    for part in self._samples.get(piece.entry, {}).get(number, ()):
                        self._collect(cell, (piece.entry, number, part.start), flat[here][part].copy())
                elif cell.selector is not None and cell.value is None:
                    number_in_run = self.plan.tile_base[piece.entry] + number
                    found.append((piece.entry, one.row, count(cell.selector.bracket, number_in_run, flat[here])))
            if found:
                frame.traces.append(Tallied(self.node, tuple(found)))

        return step

    def take(self, tallies: Sequence[tuple[int, int, Tally]]) -> None:
        """Take in what tiles contribute to the reading: entry, row and tally of each."""
        for entry, row, each in tallies:
            selector = self._cells[self._cell_of(entry, row)].selector
            assert selector is not None
            selector.add(each)

    def _collect(self, cell: _Cell, place: tuple[int, int, int], block: np.ndarray) -> None:
        """Take in a block of the sample; after the last one it is used and dropped, while other cells' samples come."""
        with self._lock:
            cell.blocks[place] = block
            cell.awaited -= 1
            complete = cell.awaited == 0
        if complete and cell.selector is not None:
            # In flat order: what the sample says must not depend on which block came first.
            cell.selector.sample([block for _, block in sorted(cell.blocks.items())])
            cell.blocks = {}

    def finish(self) -> bool:
        """End a reading; whether every cell has its result."""
        for cell in self._cells.values():
            if cell.selector is not None and cell.value is None:
                cell.selector.advance()
                if cell.selector.selected is not None:
                    cell.value = self._result(cell)
        return all(cell.value is not None for cell in self._cells.values())

    def values(self) -> dict[int, Any]:
        """Results as the tables keep them: by cell number, by entry, or by entry a list with one per row."""
        if self.node.domain != Domain.ROW:
            return {int(str(key)): cell.value for key, cell in self._cells.items()}
        rows: dict[int, list[Any]] = {}
        for key, cell in self._cells.items():
            assert isinstance(key, tuple)
            rows.setdefault(key[0], []).append(cell.value)
        return {entry: values if self.node.op == "cut" else np.array(values) for entry, values in rows.items()}

    def _cell_of(self, entry: int, row: int) -> Hashable:
        if self.node.domain == Domain.ROW:
            return entry, row
        if self.node.domain == Domain.TENSOR:
            return entry
        return self.plan.cells[self.node.option("scope")][1][entry]

    def _begin(self, cell: _Cell) -> None:
        budget = budget_of(len(self._cells))
        if self.node.op == "quantile":
            rank, _ = quantile_rank(self.node.option("q"), cell.size)
            cell.selector = Selector(cell.size, rank, self._keys, successor=True, budget=budget)
        else:
            density = float(self.plan.facts.static[self.node.args[1]][cell.tiles[0][0]])
            kept = keep_count(density, cell.size)
            cell.value = trivial_cut(cell.size, kept, self._keys)
            if cell.value is None:
                cell.selector = Selector(cell.size, cell.size - kept, self._keys, budget=budget)
        if cell.selector is not None:
            for (entry, number), part in cell.sampled(self._keys.itemsize, budget):
                self._samples.setdefault(entry, {}).setdefault(number, []).append(part)
                cell.awaited += 1

    def _result(self, cell: _Cell) -> Cut | float:
        assert cell.selector is not None
        selected = cell.selector.selected
        assert selected is not None
        if self.node.op == "cut":
            return selected.cut
        if selected.nan:
            return math.nan
        _, fraction = quantile_rank(self.node.option("q"), cell.size)
        low, high = value_of(np.array([selected.key, selected.successor], self._keys))
        return float(interpolate(low, high, fraction))
