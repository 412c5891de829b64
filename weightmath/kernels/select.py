"""Exact order statistics of cells that fit in memory, and the keys that all selections work on.

A *key* is an unsigned integer that orders like the value it stands for (uint32 for float32, uint64 for float64).
Integers have no rounding, so a selection by keys is exact, and equal keys are ties that the flat index decides.
NaN sorts beyond the infinities. `weightmath.kernels.bracket` selects from cells that are larger than memory.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from weightmath.kernels.fixed_loops import count_magnitudes
from weightmath.kernels.scratch import borrow

_KEYS: dict[int, np.dtype] = {4: np.dtype(np.uint32), 8: np.dtype(np.uint64)}
_FLOATS: dict[int, np.dtype] = {4: np.dtype(np.float32), 8: np.dtype(np.float64)}
_LARGE = 1 << 14  # keys of a cell from which a sample of them pays
GOLDEN = 2654435769  # the golden ratio, of 2^32: its multiples scatter, and fall in step with no rows
_SCATTERED = np.arange(1 << 16, dtype=np.uint64) * np.uint64(GOLDEN) % np.uint64(1 << 32)
_SIGNS: dict[int, np.unsignedinteger] = {4: np.uint32(1 << 31), 8: np.uint64(1 << 63)}


def key_dtype(dtype: npt.DTypeLike) -> np.dtype:
    """The dtype of the keys of float32 or float64 values."""
    return _KEYS[np.dtype(dtype).itemsize]


def _room_for_keys(x: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    return np.empty(x.shape, _KEYS[x.itemsize]) if out is None else out


def magnitude_keys(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Keys that order like |x|: the bits without the sign. -0.0 and 0.0 are ties.

    `x` is C-contiguous; `out`, where given, is an array of x's shape and of `key_dtype(x.dtype)`.
    """
    keys = _room_for_keys(x, out)
    np.bitwise_and(x.view(keys.dtype), ~_SIGNS[x.itemsize], out=keys)
    return keys


def value_keys(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Keys that order like x itself. -0.0 and 0.0 are ties.

    Negative values have all their bits flipped, others the sign bit. `x` is C-contiguous; `out`, where given, is
    an array of x's shape and of `key_dtype(x.dtype)`.
    """
    keys = _room_for_keys(x, out)
    np.add(x, 0, out=keys.view(x.dtype))  # -0.0 + 0 is 0.0: two zeros must not be two keys
    flips = borrow("select.flips", x.shape, keys.dtype)
    signed = np.dtype(f"i{x.itemsize}")
    np.right_shift(keys.view(signed), 8 * x.itemsize - 1, out=flips.view(signed))
    np.bitwise_or(flips, _SIGNS[x.itemsize], out=flips)
    np.bitwise_xor(keys, flips, out=keys)
    return keys


def descending(keys: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Keys in the opposite order, to select the smallest with what selects the largest. Its own inverse."""
    reverse = np.empty_like(keys) if out is None else out
    np.invert(keys, out=reverse)
    return reverse


def value_of(keys: np.ndarray) -> np.ndarray:
    """The values that `value_keys` made these keys of."""
    sign = _SIGNS[keys.itemsize]
    bits = np.where(keys & sign, keys ^ sign, ~keys)
    return bits.view(_FLOATS[keys.itemsize])


def any_nan(keys: np.ndarray) -> np.ndarray:
    """Whether there is a NaN among the `value_keys` of each row (n > 0): those of NaNs lie beyond the infinities'."""
    lowest, highest = value_keys(np.array([-np.inf, np.inf], _FLOATS[keys.itemsize]))
    return np.asarray((keys.min(axis=-1) < lowest) | (keys.max(axis=-1) > highest))


def keep_count(density: float, n: int) -> int:
    """How many of n elements a density in [0, 1] keeps: floor(density n), the density being the decimal as written.

    0.29 of 100 is 29, though the nearest double to 0.29 is below it. At least one element is kept when
    density > 0 and n > 0.
    """
    exact = math.floor(Fraction(repr(float(density))) * n)
    return max(exact, 1) if density > 0 and n > 0 else exact


def cut_of(keys: np.ndarray, k: int, *, loops: bool = False) -> tuple[int, int, int]:
    """Where to cut one cell so that exactly its k largest keys stay.

    Keys between two of a sample hold the wanted rank: only these, a few percent, are looked at more closely.

    Parameters
        keys   (n,) unsigned integers, unchanged by the call
        k      elements to keep, 1 to n
        loops  whether a loop of machine code may look: the keys are `magnitude_keys`
    Returns
        threshold  everything above it stays
        ties       how many keys equal to it stay, the first ones
        last       the place of the last one of these
    """
    rank = keys.size - k
    below, places = _around(keys, rank, loops=loops)
    if not 0 <= rank - below < places.size:  # the sample has misled
        below, places = 0, np.arange(keys.size)
    near = keys[places]
    threshold = np.partition(near, rank - below)[rank - below]
    ties = k - (keys.size - below - near.size) - int(np.count_nonzero(near > threshold))
    return int(threshold), ties, int(places[near == threshold][ties - 1])


def _around(keys: np.ndarray, rank: int, *, loops: bool) -> tuple[int, np.ndarray]:
    """How many keys are below a range that should hold the one at that rank, and where those in the range are."""
    n = keys.size
    # Of m samples the range holds some 4 n / sqrt(m) keys: to look at both is least work at m = (2 n) ** (2 / 3).
    at = (_SCATTERED[: int((2 * n) ** (2 / 3))] * np.uint64(n)) >> np.uint64(32)
    share = rank / n
    margin = 5 * math.sqrt(share * (1 - share) * at.size) + 3
    place = share * at.size
    found = between(keys[at.astype(np.intp)], math.floor(place - margin), math.ceil(place + margin))
    low, high = found[0] or 0, np.iinfo(keys.dtype).max if found[1] is None else found[1]
    inside = borrow("select.inside", keys.shape, bool)
    if loops:
        below = count_magnitudes(keys.view(_FLOATS[keys.itemsize]), low, high, inside)
    else:
        np.less(keys, low, out=inside)
        below = int(np.count_nonzero(inside))
        np.greater_equal(keys, low, out=inside)
        np.logical_and(inside, np.less_equal(keys, high, out=borrow("select.through", keys.shape, bool)), out=inside)
    return below, np.flatnonzero(inside)


def between(keys: np.ndarray, first: int, last: int) -> tuple[int | None, int | None]:
    """The keys at two ranks of all; None beyond their ends."""
    there = [rank for rank in (first, last) if 0 <= rank < keys.size]
    ordered = np.partition(keys, np.array(there, np.intp))
    low, high = (int(ordered[rank]) if rank in there else None for rank in (first, last))
    return low, high


def threshold_rows(keys: np.ndarray, k: int | np.ndarray, *, loops: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Where to cut each cell so that exactly its k largest keys stay.

    Parameters
        keys   (cells, n) unsigned integers, unchanged by the call
        k      elements to keep, 0 to n: one number, or (cells,) integers
        loops  as for `cut_of`
    Returns
        threshold  (cells,) keys: everything above it stays
        ties       (cells,) int64: how many keys equal to it stay, the first ones in flat order
    """
    cells = len(keys)
    wanted = np.broadcast_to(np.asarray(k, np.int64), (cells,))
    threshold = np.full(cells, np.iinfo(keys.dtype).max, keys.dtype)
    ties = np.zeros(cells, np.int64)
    if keys.shape[1] >= _LARGE:
        for row in np.flatnonzero(wanted):
            threshold[row], ties[row], _ = cut_of(keys[row], int(wanted[row]), loops=loops)
        return threshold, ties
    for each in np.unique(wanted):
        rows = wanted == each
        if each > 0:
            top = _largest(keys if rows.all() else keys[rows], int(each))
            threshold[rows] = top[:, 0]
            ties[rows] = each - np.count_nonzero(top > top[:, :1], axis=1)
    return threshold, ties


def _largest(keys: np.ndarray, k: int) -> np.ndarray:
    """The k largest keys of each row, the least of them first, the others in no order; valid until the next call."""
    work = borrow("select.partition", keys.shape, keys.dtype)
    np.copyto(work, keys)
    first = keys.shape[1] - k
    work.partition(first, axis=1)
    return work[:, first:]


def mask_rows(keys: np.ndarray, threshold: np.ndarray, ties: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Mark in `out` (bool, shape of keys) what `threshold_rows` decided to keep: exactly k elements of each cell."""
    edge = threshold[:, None]
    np.greater_equal(keys, edge, out=out)
    equal = borrow("select.equal", keys.shape, bool)
    np.equal(keys, edge, out=equal)
    there = np.count_nonzero(equal, axis=1)
    if (there > ties).any():
        at = np.flatnonzero(equal)
        ends = np.cumsum(there)
        place = np.arange(at.size) - np.repeat(ends - there, there)
        out.reshape(-1)[at[place >= np.repeat(ties, there)]] = False
    return out


def quantile_rank(q: float, n: int) -> tuple[int, float]:
    """The rank below the q-quantile of n > 0 values (0 is the smallest) and the way to the next rank, in [0, 1).

    numpy's `linear` rule: the quantile lies at rank q (n - 1).
    """
    place = q * (n - 1)
    rank = min(math.floor(place), n - 1)
    return rank, place - rank


def interpolate(low: npt.ArrayLike, high: npt.ArrayLike, fraction: npt.ArrayLike) -> np.ndarray:
    """The float64 value at `fraction` of the way from low to high, rounded as numpy's `quantile` rounds it.

    Between a number and an infinity it is that infinity or NaN; low and high are no NaNs.
    """
    a, b, t = np.asarray(low, np.float64), np.asarray(high, np.float64), np.asarray(fraction, np.float64)
    # No gap is taken where none is needed: infinity - infinity and 0 * infinity are NaN.
    gap = np.zeros(np.broadcast_shapes(a.shape, b.shape, t.shape))
    np.subtract(b, a, out=gap, where=(a != b) & (t > 0))
    with np.errstate(invalid="ignore"):
        return np.where(t < 0.5, a + gap * t, b - gap * (1 - t))


def rank_rows(keys: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The keys at `rank` (0 is the smallest) and at `rank + 1` of each cell of (cells, n > 0) keys.

    The last rank is its own successor. Returns two (cells,) arrays.
    """
    n = keys.shape[1]
    top = _largest(keys, n - rank)
    at = top[:, 0].copy()
    return at, top[:, 1:].min(axis=1) if rank + 1 < n else at


def quantile_rows(cells: np.ndarray, q: float) -> np.ndarray:
    """The q-quantile of each row of value keys; 0 for empty rows, NaN for those that hold one."""
    if cells.shape[1] == 0:
        return np.zeros(len(cells))
    rank, fraction = quantile_rank(q, cells.shape[1])
    low, high = rank_rows(cells, rank)
    return np.where(any_nan(cells), np.nan, interpolate(value_of(low), value_of(high), fraction))
