"""Ranks of magnitudes, against counting."""

from __future__ import annotations

import numpy as np
import pytest

from weightmath.kernels.rank import rank


def counted(row: np.ndarray) -> np.ndarray:
    """How many elements come before each: smaller ones, and equal ones that follow it."""
    size = np.abs(row)
    before = [np.sum(size < x) + np.sum(size[i + 1 :] == x) for i, x in enumerate(size)]
    return np.array(before) / (row.size - 1) if row.size > 1 else np.full(row.size, 0.5)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (5, 1), (3, 40), (2, 3, 5), (0, 3)])
def test_rank(shape: tuple[int, ...], dtype: str):
    x = np.asarray(np.round(np.random.default_rng(1).standard_normal(shape) * 4) / 8, dtype)
    x = np.where(x == 0, -0.0, x).astype(dtype)
    rows = list(x) if len(shape) > 1 else [x]
    np.testing.assert_array_equal(rank(x, "tensor").reshape(-1), counted(x.reshape(-1)))
    by_row = np.array([counted(row.reshape(-1)) for row in rows]).reshape(shape)
    np.testing.assert_array_equal(rank(x, "row"), by_row)


def test_huge_and_missing_numbers_come_last():
    x = np.array([1.0, np.inf, -3.0, np.nan], "f4")
    np.testing.assert_array_equal(rank(x, "row"), np.array([0, 2, 1, 3]) / 3)
