"""Ranks of magnitudes within rows or a whole tensor."""

from __future__ import annotations

import numpy as np

from weightmath.kernels.select import magnitude_keys


def rank(x: np.ndarray, scope: str) -> np.ndarray:
    """The rank of each magnitude of a tensor within its row or the tensor, 0 (smallest) to 1, float64; 0.5 if alone.

    Of equal magnitudes the one that comes first is the larger, as in selections.
    """
    rows = len(x) if scope == "row" and x.ndim > 1 else 1
    return _rank_rows(np.ascontiguousarray(x).reshape(rows, -1)).reshape(x.shape)


def _rank_rows(cells: np.ndarray) -> np.ndarray:
    count = cells.shape[1]
    if count == 1:
        return np.full(cells.shape, 0.5)
    # A stable sort of the reversed row puts the later of equals lower.
    ascending = np.argsort(magnitude_keys(cells)[:, ::-1], axis=1, kind="stable")
    ranks = np.empty(cells.shape)
    np.put_along_axis(ranks[:, ::-1], ascending, np.arange(count) / (count - 1), axis=1)
    return ranks
