"""Selections from cells that are too large to be held, or wider than a tensor, as one reading after another.

One `Selector` per cell; this module says which tiles belong to which cell, which are sampled, and where a cut lies. A
search through one tensor is the work of one thread, in a round, while the tensor is in the page cache; one through
cells that are wider takes readings of the model.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from weightmath.algebra.graph import Vector
from weightmath.engine.frame import Frame, Step
from weightmath.engine.plan import GATHER_LIMIT, Plan
from weightmath.engine.selecting import in_loops, kept_of, keys_of, tile_in_cell
from weightmath.engine.traces import TalliedPart
from weightmath.kernels.bracket import BUDGET, Cut, Tally, sample_ranges, tally, tally_magnitudes, trivial_cut
from weightmath.kernels.select import interpolate, key_dtype, quantile_rank, value_of
from weightmath.kernels.selector import Selector
from weightmath.scope import Domain, tile_at, tile_span

# Bins take as much, so that less would save nothing.
_LEAST_BUDGET = 1 << 19


def budget_of(cells: int, together: int = BUDGET) -> int:
    """Bytes of keys that each of so many cells may hold at a time."""
    return max(together // max(cells, 1), _LEAST_BUDGET)


def sampled_tiles(searches: Iterable[Search], entry: int) -> list[int]:
    """Tiles of an entry that the sample of some search needs."""
    return sorted({number for search in searches for number in search.sampled_tiles(entry)})


class _Cell:
    """One cell: the stretches of tensors that it consists of, in flat order, and its selector once they are known."""

    def __init__(self) -> None:
        self.size = 0
        self.starts: list[int] = []  # first element of each stretch, counted within the cell
        self.stretches: list[tuple[int, int, int]] = []  # entry, and the elements: the first, and the last + 1
        self.selector: Selector | None = None
        self.blocks: dict[tuple[int, int, int], np.ndarray] = {}  # of the sample, by entry, tile and start
        self.awaited = 0  # blocks that are still to come
        self.value: Any = None

    def add(self, entry: int, start: int, stop: int) -> None:
        self.starts.append(self.size)
        self.stretches.append((entry, start, stop))
        self.size += stop - start

    def within(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """The stretches of some of the cell's elements."""
        for place in range(bisect_right(self.starts, start) - 1, bisect_left(self.starts, stop)):
            entry, first, last = self.stretches[place]
            offset = first - self.starts[place]
            yield entry, max(start + offset, first), min(stop + offset, last)


class Search:
    """The cells of one `cut` or `quantile` node, while all entries that they consist of are read.

    budget   bytes of keys that they may hold together
    """

    def __init__(self, node: Vector, plan: Plan, entries: Iterable[int], budget: int = BUDGET) -> None:
        self.node = node
        self.plan = plan
        self.argument = node.args[0]
        self._entries = frozenset(entries)
        self._cells: dict[int, _Cell] = {}
        for entry in sorted(self._entries):
            shape = plan.layout.entries[entry]
            size = shape.row_size if node.domain == Domain.ROW else shape.size
            for row, start in enumerate(range(0, shape.size, size)):
                self._cells.setdefault(self._cell_of(entry, row), _Cell()).add(entry, start, start + size)
        # One dtype for all cells: that of the widest tensor among them.
        widths = [plan.key_dtype(node, cell.stretches[0][0]).itemsize for cell in self._cells.values()]
        self._keys = key_dtype(f"f{max(widths, default=4)}")
        self._samples: dict[int, dict[int, list[slice]]] = {}
        self._lock = threading.Lock()
        for cell in self._cells.values():
            self._begin(cell, budget_of(len(self._cells), budget))

    @classmethod
    def wide(cls, node: Vector, plan: Plan) -> Search:
        """Through cells that are wider than a tensor: all entries that the node counts."""
        return cls(node, plan, (e for e, size in enumerate(plan.layout.sizes) if size and plan.counts(node, e)))

    @classmethod
    def within(cls, node: Vector, plan: Plan, entry: int) -> Search:
        """Through one tensor, or its rows; holds no more than would be held of a tensor that is gathered."""
        return cls(node, plan, [entry], 4 * GATHER_LIMIT)

    def takes(self, entry: int) -> bool:
        """Whether a reading must show this entry's elements: its cell has no result yet."""
        return entry in self._entries and self._cells[self._cell_of(entry, 0)].value is None

    def sampled_tiles(self, entry: int) -> tuple[int, ...]:
        """Tiles of this entry that the sample needs."""
        return tuple(self._samples.get(entry, ()))

    def step(self, slot: int, *, sampling: bool) -> Step:
        """The step that looks at the values in a slot: samples them, or counts them for whoever collects counts."""

        def step(frame: Frame) -> None:
            found = self.look(frame, slot, sampling=sampling)
            if found:
                frame.traces.append(TalliedPart(self.node, found))

        return step

    def look(self, frame: Frame, slot: int, *, sampling: bool) -> list[tuple[int, int, Tally]]:
        """Sample the values in a slot, or count them: entry, row and tally of each tile."""
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
                place = tile_in_cell(self.node, piece.entry, number, self.plan)
                found.append((piece.entry, one.row, count(cell.selector.bracket, place, flat[here])))
        return found

    def take(self, tallies: Sequence[tuple[int, int, Tally]]) -> None:
        """Take in what tiles contribute to the reading: entry, row and tally of each."""
        for entry, row, each in tallies:
            selector = self._cells[self._cell_of(entry, row)].selector
            assert selector is not None
            selector.add(each)

    def take_in(self, frame: Frame, slot: int) -> None:
        """Count the values in a slot, and take in what they contribute."""
        self.take(self.look(frame, slot, sampling=False))

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

    def by_cell(self) -> dict[int, Any]:
        """Results of wide cells, by the number of the cell."""
        return {number: cell.value for number, cell in self._cells.items()}

    def of_tensor(self) -> Any:
        """The result of the one tensor, or those of its rows."""
        values = [cell.value for cell in self._cells.values()]
        if self.node.domain != Domain.ROW:
            return values[0]
        return values if self.node.op == "cut" else np.array(values)

    def _cell_of(self, entry: int, row: int) -> int:
        if self.node.domain >= Domain.TENSOR:
            return row if self.node.domain == Domain.ROW else 0
        return self.plan.cells[self.node.option("scope")][1][entry]

    def _begin(self, cell: _Cell, budget: int) -> None:
        if self.node.op == "quantile":
            rank, _ = quantile_rank(self.node.option("q"), cell.size)
            cell.selector = Selector(cell.size, rank, self._keys, successor=True, budget=budget)
        else:
            kept = kept_of(self.node, cell.stretches[0][0], cell.size, self.plan)
            cell.value = trivial_cut(cell.size, kept, self._keys)
            if cell.value is None:
                cell.selector = Selector(cell.size, cell.size - kept, self._keys, budget=budget)
        if cell.selector is not None:
            for part in sample_ranges(cell.size, self._keys.itemsize, budget):
                for stretch in cell.within(*part):
                    self._sample(cell, *stretch)

    def _sample(self, cell: _Cell, entry: int, start: int, stop: int) -> None:
        """Await a block of a cell's sample, tile by tile."""
        shape = self.plan.layout.entries[entry]
        for number in range(tile_at(shape, start), tile_at(shape, stop - 1) + 1):
            first, last = tile_span(shape, number)
            part = slice(max(start, first) - first, min(stop, last) - first)
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
