"""A matrix as the product of a tall and a wide one: B (rows x r) A (r x columns), from its singular values.

A tensor of more axes is the matrix of its rows. The factors share the singular values: each has their square roots.
Unlike the other encoders this one needs a whole matrix at a time, in float64.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


class Factors(NamedTuple):
    """The two matrices, float32."""

    tall: Array
    wide: Array


def factors(matrix: Array, *, rank: int | None = None, energy: float | None = None) -> Factors:
    """The best factors of a matrix.

    rank     at most as many columns of B
    energy   as many as hold this share of the sum of squares, 0 < energy <= 1
    """
    left, values, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    count = len(values) if rank is None else min(rank, len(values))
    if energy is not None:
        squares = np.cumsum(values**2)
        enough = int(np.searchsorted(squares, energy * squares[-1] * (1 - 1e-12))) + 1 if len(values) else 0
        count = min(count, enough)
    root = np.sqrt(values[:count])
    tall, wide = left[:, :count] * root, root[:, None] * right[:count]
    return Factors(tall.astype(np.float32), wide.astype(np.float32))
