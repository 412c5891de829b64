"""Exact order statistics of cells that are larger than memory, from a few readings of their tiles.

A sample gives a *bracket* of keys that should hold the wanted rank. One reading of all tiles counts the keys below
it and collects those inside it, which is enough to know the key at that rank and where, tile by tile, its ties are.
A sample that misled costs another reading. So does a bracket that holds more than the budget: its keys are then
binned instead of collected, and the next bracket is the one bin, 65,536 times narrower. The result is exact in any
case and does not depend on the sample, the budget, or the order in which tiles arrive.

    selector = Selector(n, n - k, key_dtype(np.float32))
    selector.sample([keys of each of sample_ranges(n)])
    while (selected := selector.selected) is None:
        for number, keys in tiles:                                       # in any order, by any number of threads
            selector.add(tally(selector.bracket, number, keys))
        selector.advance()
    for number, keys in tiles:
        mask_tile(keys, selected.cut, number, out)                       # exactly k elements in all

Readings before the mask: one where the sample was right. Float32 keys need two after a miss or an overflow, three
where the bin overflows too, and one more only where a miss and two overflows meet.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from weightmath.kernels.bracket import BUDGET, Bracket, Cut, Tally
from weightmath.kernels.select import between

_BINS = 1 << 16
_FEWEST_BLOCKS = 8  # below this, the spread between blocks says nothing


@dataclass(frozen=True)
class Selected:
    """The key at the wanted rank, the key at the next rank (the last rank is its own), and the cut between them.

    The cut keeps the n - rank largest elements: those from the wanted rank up. `successor` is None and `nan`, whether
    the cell holds a NaN, is False unless they were asked for.
    """

    key: int
    successor: int | None
    nan: bool
    cut: Cut


class Selector:
    """Finds the key at one rank of a cell in as many readings as it takes.

    Parameters
        n          elements of the cell
        rank       the wanted rank, 0 (the smallest) to n - 1; to keep the k largest, n - k
        dtype      of the keys: uint32 or uint64
        successor  whether the key at the next rank is wanted too, and whether there is a NaN (quantiles: value keys)
        budget     bytes of keys to hold
    Attributes
        bracket    what the next reading's tallies are to be made with
        selected   the result, None until there is one
    """

    def __init__(
        self, n: int, rank: int, dtype: npt.DTypeLike, *, successor: bool = False, budget: int = BUDGET
    ) -> None:
        if not 0 <= rank < n:
            raise ValueError(f"rank {rank} of {n} elements")
        self.n = n
        self.rank = rank
        self.dtype = np.dtype(dtype)
        self.budget = budget
        self.bracket = Bracket(0, int(np.iinfo(self.dtype).max), successor)
        self.selected: Selected | None = None
        self._lock = threading.Lock()
        self._reading = _Reading(self.bracket, budget)

    def sample(self, blocks: Sequence[np.ndarray]) -> None:
        """Narrow the first bracket by keys from parts of the cell, before the first reading.

        The wanted rank is expected within five standard errors of its place in the sample. The error is taken from
        the spread between blocks, for elements of one block are alike, and is at least that of independent draws.
        """
        keys = np.concatenate(blocks)
        m = keys.size
        if m == self.n:
            margin = 0.0
        elif len(blocks) < _FEWEST_BLOCKS:
            return
        else:
            margin = 5 * _standard_error(blocks, keys, self.rank / self.n) + 3
        place = self.rank * m / self.n
        first, last = math.floor(place - margin), math.ceil(place + margin)
        lo, hi = between(keys, first, last)
        self._read_next(self.bracket.lo if lo is None else lo, self.bracket.hi if hi is None else hi)

    def add(self, tally: Tally) -> None:
        """Take in one tile of the current reading; tiles may come in any order and from any thread."""
        with self._lock:
            self._reading.add(tally)

    def advance(self) -> None:
        """End a reading in which every tile was added once: set `selected`, or a narrower `bracket`."""
        reading = self._reading
        if reading.seen != self.n:
            raise ValueError(f"a reading of {reading.seen} elements of a cell of {self.n}")
        place = self.rank - reading.below
        if place < 0:
            self._read_next(0, self.bracket.lo - 1)
        elif place >= reading.inside:
            self._read_next(self.bracket.hi + 1, int(np.iinfo(self.dtype).max))
        elif reading.bins is not None:
            self._read_next(*reading.bin(reading.bins, place))
        else:
            self.selected = reading.resolve(place, self.n - self.rank)

    def _read_next(self, lo: int, hi: int) -> None:
        self.bracket = Bracket(lo, hi, self.bracket.successor)
        self._reading = _Reading(self.bracket, self.budget)


def _standard_error(blocks: Sequence[np.ndarray], keys: np.ndarray, share: float) -> float:
    """Standard error, in elements, of how many of the sample, its keys, are below the key at that share of the cell."""
    m = keys.size
    place = min(int(share * m), m - 1)
    key = np.partition(keys, place)[place]
    sizes = np.array([block.size for block in blocks])
    starts = np.cumsum(sizes) - sizes
    errors = [math.sqrt(share * (1 - share) * m)]
    for compare in (np.less, np.less_equal):
        counts = np.add.reduceat(compare(keys, key), starts, dtype=np.int64)
        deviations = counts - sizes * (counts.sum() / m)
        errors.append(math.sqrt((deviations**2).sum() * len(blocks) / (len(blocks) - 1)))
    return max(errors)


class _Reading:
    """The tallies of one reading: collected, or binned once they outgrow the budget."""

    def __init__(self, bracket: Bracket, budget: int) -> None:
        self.bracket = bracket
        self.budget = budget
        self.seen = self.below = self.inside = self.held = 0
        self.nan = False
        self.above: int | None = None
        self.tallies: list[Tally] = []
        self.bins: np.ndarray | None = None
        self._shift = max(0, (bracket.hi - bracket.lo).bit_length() - 16)

    def add(self, tally: Tally) -> None:
        """Take in one tile."""
        self.seen += tally.size
        self.below += tally.below
        self.inside += tally.inside
        self.nan |= tally.nan
        if tally.above is not None:
            self.above = tally.above if self.above is None else min(self.above, tally.above)
        if not tally.inside:
            return
        if self.bins is not None:
            self._count(tally, self.bins)
            return
        self.tallies.append(tally)
        self.held += tally.nbytes
        # A bracket of one key is as narrow as can be: its tallies are one number per tile.
        if self.held > self.budget and self.bracket.hi > self.bracket.lo:
            self.bins = np.zeros(_BINS, np.int64)
            for each in self.tallies:
                self._count(each, self.bins)
            self.tallies.clear()

    def _count(self, tally: Tally, bins: np.ndarray) -> None:
        lo, shift = tally.keys.dtype.type(self.bracket.lo), tally.keys.dtype.type(self._shift)
        where = ((tally.keys - lo) >> shift).astype(np.intp)
        if tally.counts is None:
            bins += np.bincount(where, minlength=_BINS)
        else:
            np.add.at(bins, where, tally.counts)

    def bin(self, bins: np.ndarray, place: int) -> tuple[int, int]:
        """First and last key of the bin that holds the key at that place of the bracket."""
        number = int(np.searchsorted(np.cumsum(bins), place, side="right"))
        lo = self.bracket.lo + (number << self._shift)
        return lo, min(lo + (1 << self._shift) - 1, self.bracket.hi)

    def resolve(self, place: int, keep: int) -> Selected:
        """The key at that place of the bracket, and the cut that keeps so many elements of the cell."""
        collected = _Collected(self.tallies)
        key = collected.key_at(place, self.bracket)
        through = collected.count_through(key)
        successor = key
        if through <= place + 1:
            candidates = [k for k in (collected.least_above(key), self.above) if k is not None]
            successor = min(candidates, default=key)
        ties = keep - (self.seen - self.below - through)
        return Selected(key, successor if self.bracket.successor else None, self.nan, self._cut(key, ties))

    def _cut(self, key: int, ties: int) -> Cut:
        """The tile in which the last of so many ties lies."""
        for tally in sorted(self.tallies, key=lambda each: each.tile):
            equal = tally.keys == tally.keys.dtype.type(key)
            there = int(np.count_nonzero(equal) if tally.counts is None else tally.counts[equal].sum())
            if there >= ties:
                return Cut(key, tally.tile, ties)
            ties -= there
        raise AssertionError("the tallies hold fewer ties than they counted")


class _Collected:
    """The keys in a bracket as two sorted arrays: single ones, and distinct ones with the sums of their counts."""

    def __init__(self, tallies: Sequence[Tally]) -> None:
        dtype = tallies[0].keys.dtype
        singles = [each.keys for each in tallies if each.counts is None]
        self._singles = np.sort(np.concatenate([np.empty(0, dtype), *singles]))
        atoms = np.concatenate([np.empty(0, dtype), *(each.keys for each in tallies if each.counts is not None)])
        counts = [each.counts for each in tallies if each.counts is not None]
        order = np.argsort(atoms)
        self._atoms = atoms[order]
        self._sums = np.concatenate([[0], np.cumsum(np.concatenate([np.empty(0, np.int64), *counts])[order])])

    def count_through(self, key: int) -> int:
        """How many keys are at most `key`."""
        limit = self._singles.dtype.type(key)
        singles = np.searchsorted(self._singles, limit, side="right")
        return int(singles + self._sums[np.searchsorted(self._atoms, limit, side="right")])

    def key_at(self, place: int, bracket: Bracket) -> int:
        """The least key of the bracket that more than `place` keys do not exceed."""
        lo, hi = bracket.lo, bracket.hi
        while lo < hi:
            middle = (lo + hi) // 2
            if self.count_through(middle) > place:
                hi = middle
            else:
                lo = middle + 1
        return lo

    def least_above(self, key: int) -> int | None:
        """The least collected key above `key`, if there is one."""
        limit = self._singles.dtype.type(key)
        later = [keys[np.searchsorted(keys, limit, side="right") :][:1] for keys in (self._singles, self._atoms)]
        return min((int(k) for keys in later for k in keys), default=None)
