"""Singular values of each matrix of several models, one tensor in memory at a time, and the ranks that they tell.

A tensor of k >= 2 axes counts as the matrix [first axis, all others]. Float64, on one thread.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weightmath.engine.ends import Source
from weightmath.errors import NumericError
from weightmath.kernels import convert
from weightmath.kernels.one_thread import one_thread
from weightmath.layout import Entry, Layout


def spectra(layout: Layout, sources: Sequence[Source], *, has_base: bool) -> dict[str, np.ndarray]:
    """By tensor the singular values of each source, (sources, k), the largest first; with a base of all but the first,
    of their changes from it.

    Fails with NumericError for NaN, infinities, and where they do not converge.
    """
    matrices = (entry for entry in layout if len(entry.shape) > 1 and entry.size)
    return {entry.name: _of_tensor(entry, sources, has_base=has_base) for entry in matrices}


def _of_tensor(entry: Entry, sources: Sequence[Source], *, has_base: bool) -> np.ndarray:
    base = _matrix(entry, sources[0]) if has_base else 0.0
    found = []
    for source in sources[1:] if has_base else sources:
        change = _matrix(entry, source) - base
        try:
            with one_thread():
                found.append(np.linalg.svd(change, compute_uv=False))
        except np.linalg.LinAlgError:
            raise NumericError(f"the singular values of `{entry.name}` did not converge") from None
    return np.stack(found)


def _matrix(entry: Entry, source: Source) -> np.ndarray:
    dtype = source.dtype(entry.name)
    bits = np.empty(entry.size, dtype.bits)
    source.reading(entry.name)(0, bits)
    numbers = convert.decoded(bits, dtype)
    if not np.isfinite(numbers).all():
        raise NumericError(f"`{entry.name}` holds NaN or infinities, and has no singular values")
    return numbers.reshape(entry.rows, entry.row_size)


def stable_rank(values: np.ndarray) -> float:
    """sum(s^2) / max(s)^2: between 1 and the rank; 0 where all are 0. Rudelson and Vershynin, arXiv:math/0503442."""
    largest = float(values.max(initial=0.0))
    return float(np.sum((values / largest) ** 2)) if largest > 0 else 0.0


def effective_rank(values: np.ndarray) -> float:
    """exp of the entropy of s / sum(s); 0 where all are 0. Roy and Vetterli, The effective rank, EUSIPCO 2007."""
    shares = values[values > 0] / values.sum() if values.sum() > 0 else values[:0]
    return float(np.exp(-np.sum(shares * np.log(shares)))) if len(shares) else 0.0


def rank_of_energy(values: np.ndarray, share: float) -> int:
    """How many of the largest hold this share of sum(s^2); 0 where all are 0."""
    held = np.cumsum(np.sort(values)[::-1] ** 2)
    if not len(held) or held[-1] == 0:
        return 0
    return int(1 + np.count_nonzero(held < share * held[-1]))
