"""Which numbers of a long row are its k largest by magnitude, exactly and in bounded memory.

Magnitudes of float32 order like their bits: a histogram of the upper 16 bits finds the half-way point, one of the lower
16 bits of those that meet it the k-th magnitude. Of numbers that equal it the first ones are kept, by place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from weightmath.delta.pieces import in_order

_HALF = 1 << 16
_MAGNITUDE = np.uint32(0x7FFFFFFF)


def largest(pieces: Callable[[], Iterable[np.ndarray]], keep: int, threads: int) -> Iterator[np.ndarray]:
    """The numbers that `pieces()` yields, with zeros in the place of those that are not among the `keep` largest."""
    limit, ties = _kth(pieces, keep, threads) if keep else (np.uint32(0xFFFFFFFF), 0)
    for values in pieces():
        size = values.view(np.uint32) & _MAGNITUDE
        kept = size > limit
        if ties:
            equal = np.flatnonzero(size == limit)[:ties]
            kept[equal] = True
            ties -= len(equal)
        yield np.where(kept, values, np.float32(0))


def _kth(pieces: Callable[[], Iterable[np.ndarray]], keep: int, threads: int) -> tuple[np.uint32, int]:
    """The k-th magnitude, as bits, and how many that equal it are kept."""

    def low(size: np.ndarray) -> np.ndarray:
        found: np.ndarray = size[(size >> np.uint32(16)) == upper] & np.uint32(0xFFFF)
        return found

    upper, above = _descend(pieces(), lambda size: size >> np.uint32(16), keep, threads)
    lower, more = _descend(pieces(), low, keep - above, threads)
    return np.uint32((upper << 16) | lower), keep - above - more


def _descend(
    pieces: Iterable[np.ndarray], bins: Callable[[np.ndarray], np.ndarray], keep: int, threads: int
) -> tuple[int, int]:
    """The bin that holds the k-th largest, and how many lie above that bin."""

    def count(values: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.bincount(bins(values.view(np.uint32) & _MAGNITUDE), minlength=_HALF)
        return found

    counts = np.zeros(_HALF, np.int64)
    for part in in_order(count, pieces, threads):
        counts += part
    down = np.cumsum(counts[::-1])
    number = int(np.searchsorted(down, keep))
    return _HALF - 1 - number, int(down[number] - counts[_HALF - 1 - number])


def threshold_for(pieces: Callable[[], Iterable[np.ndarray]], budget: float) -> float:
    """A magnitude below which lies at most this share of the sum of squares.

    To 2 significant digits: what is smaller may be left out for that error, and hardly more could be.
    """
    squares = np.zeros(_HALF, np.float64)
    for values in pieces():
        upper = (values.view(np.uint32) & _MAGNITUDE) >> np.uint32(16)
        squares += np.bincount(upper, weights=values.astype(np.float64) ** 2, minlength=_HALF)
    below = np.cumsum(squares)
    first = int(np.searchsorted(below, budget * below[-1], side="right"))
    return float(np.array(min(first, 0x7F80) << 16, np.uint32).view(np.float32))
