"""The part of a selection that sees tiles: brackets, what a tile counts inside one, and the mask a cut makes of it.

`weightmath.kernels.selector` says how these select from a cell that is larger than memory. All functions here are
pure and safe in any thread.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from weightmath.kernels.elementwise import select
from weightmath.kernels.fixed_loops import count_magnitudes, keep_magnitudes
from weightmath.kernels.scratch import borrow
from weightmath.kernels.select import GOLDEN, any_nan, key_dtype, magnitude_keys, mask_rows

BUDGET = 32 << 20
_BLOCK = 4096  # sampled elements in a run: whole pages
_MANY = 1024  # keys of one tile from which it pays to look for equal ones
_PIECE = 400  # bytes of a tally beside its keys


@dataclass(frozen=True)
class Bracket:
    """A range of keys, both ends included, and whether the least key above it is wanted: they are value keys then."""

    lo: int
    hi: int
    successor: bool = False


@dataclass(frozen=True)
class Tally:
    """What one tile contributes to one reading."""

    tile: int
    size: int  # elements of the tile
    below: int  # how many keys are below the bracket
    inside: int  # how many are in it
    keys: np.ndarray  # those in it: each, or the distinct ones ascending
    counts: np.ndarray | None  # how often each of the distinct ones occurs
    above: int | None  # the least key above the bracket, where it is wanted and there is one
    nan: bool  # whether there is a NaN, where the key above is wanted

    @property
    def nbytes(self) -> int:
        """Memory that the tally holds."""
        return _PIECE + self.keys.nbytes + (0 if self.counts is None else self.counts.nbytes)


@dataclass(frozen=True)
class Cut:
    """Which elements of a cell are kept: keys above `key`, and the ties with it up to a place in flat order.

    Tiles numbered below `tile` keep all their ties, those above it none, `tile` itself its first `ties`.
    """

    key: int
    tile: int
    ties: int


def trivial_cut(n: int, k: int, dtype: npt.DTypeLike) -> Cut | None:
    """The cut that keeps none (k = 0) or all (k = n) of n elements with keys of that dtype; None for other k."""
    if k == 0:
        return Cut(int(np.iinfo(np.dtype(dtype)).max), -1, 0)
    return Cut(0, sys.maxsize, 0) if k == n else None


def sample_ranges(n: int, itemsize: int = 4, budget: int = BUDGET) -> list[tuple[int, int]]:
    """The parts (start, stop) of a cell of n elements to sample, in flat order: all of it where it is small.

    Blocks of 4,096 elements, as many in all as keep the work on the sample and on what its bracket collects least, or
    as many more as keep the bracket within half of the budget, yet no more than fill the budget: one reading
    is expected to do up to 2e9 float32 elements at 32 MiB. Where many cells are selected from at once, `budget` is the
    share of one.
    """
    # Of m samples a bracket holds up to some 4 n / sqrt(m) keys, each of which costs three times a sample, as it goes
    # from process to process: the least for both is m = (6 n) ** (2 / 3).
    wanted = min(max(int((6 * n) ** (2 / 3)), (10 * itemsize * n // budget) ** 2), budget // itemsize)
    wanted = max(wanted, 16 * _BLOCK)
    if n <= wanted:
        return [(0, n)]
    blocks = wanted // _BLOCK
    edges = [block * n // blocks for block in range(blocks + 1)]
    ranges = []
    for block, (first, last) in enumerate(itertools.pairwise(edges)):
        start = first + ((block * GOLDEN % 2**32) * (last - first - _BLOCK) >> 32)
        ranges.append((start, start + _BLOCK))
    return ranges


def tally(bracket: Bracket, tile: int, keys: np.ndarray) -> Tally:
    """Count and collect one tile's keys; `keys` may have any shape and is unchanged."""
    flat = keys.reshape(-1)
    lo = flat.dtype.type(bracket.lo)
    flags = borrow("bracket.flags", flat.shape, bool)
    np.less(flat, lo, out=flags)
    below = int(np.count_nonzero(flags))
    offsets = borrow("bracket.offsets", flat.shape, flat.dtype)
    np.subtract(flat, lo, out=offsets)  # keys below wrap to the largest, so that one comparison finds those inside
    np.less_equal(offsets, flat.dtype.type(bracket.hi - bracket.lo), out=flags)
    inside = int(np.count_nonzero(flags))
    found, counts = _collect(bracket, inside, flat.dtype, lambda: flat[np.flatnonzero(flags)])
    above = None
    if bracket.successor and below + inside < flat.size:
        past = flat.dtype.type(bracket.hi + 1)
        np.subtract(flat, past, out=offsets)
        above = bracket.hi + 1 + int(offsets.min())
    return Tally(tile, flat.size, below, inside, found, counts, above, bracket.successor and bool(any_nan(flat)))


def tally_magnitudes(bracket: Bracket, tile: int, values: np.ndarray) -> Tally:
    """`tally` of the values' magnitude keys, by a loop of machine code. For brackets that want no key above them."""
    flags = borrow("bracket.flags", values.shape, bool)
    below = count_magnitudes(values, bracket.lo, bracket.hi, flags)
    inside = int(np.count_nonzero(flags))
    dtype = key_dtype(values.dtype)
    found, counts = _collect(bracket, inside, dtype, lambda: magnitude_keys(values[np.flatnonzero(flags)]))
    return Tally(tile, values.size, below, inside, found, counts, above=None, nan=False)


def _collect(
    bracket: Bracket, inside: int, dtype: np.dtype, keys: Callable[[], np.ndarray]
) -> tuple[np.ndarray, np.ndarray | None]:
    """The keys inside, or the distinct ones and their counts where there are many that repeat."""
    if bracket.lo == bracket.hi:
        times = 1 if inside else 0
        return np.full(times, bracket.lo, dtype), np.full(times, inside, np.int64)
    found = keys()
    if inside >= _MANY:
        found.sort()
        last = np.append(found[1:] != found[:-1], True)
        distinct = int(np.count_nonzero(last))
        if distinct * (found.itemsize + 8) < found.nbytes:
            ends = np.flatnonzero(last)
            return found[ends], np.diff(ends, prepend=-1)
    return found, None


def mask_tile(keys: np.ndarray, cut: Cut, tile: int, out: np.ndarray) -> np.ndarray:
    """Mark in `out` (bool, C-contiguous, shape of keys) which elements of that tile the cut keeps."""
    key = keys.dtype.type(cut.key)
    if tile < cut.tile:
        np.greater_equal(keys, key, out=out)
    elif tile > cut.tile:
        np.greater(keys, key, out=out)
    else:
        mask_rows(keys.reshape(1, -1), np.array([key]), np.array([cut.ties]), out.reshape(1, -1))
    return out


def keep_tile(values: np.ndarray, cut: Cut, tile: int, out: np.ndarray) -> None:
    """Values of that tile whose magnitudes the cut keeps, and 0 for others, by a loop of machine code."""
    if tile == cut.tile:
        mask = borrow("bracket.mask", values.shape, bool)
        select(out, values, mask_tile(magnitude_keys(values), cut, tile, mask))
    else:
        # No magnitude's key is the largest integer, above which no key is.
        least = min(cut.key + (tile > cut.tile), int(np.iinfo(key_dtype(values.dtype)).max))
        keep_magnitudes(values, least, out)
