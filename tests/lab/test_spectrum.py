"""The ranks that singular values tell, against their definitions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from weightmath.lab.spectrum import effective_rank, rank_of_energy, stable_rank


def test_stable_rank() -> None:
    assert stable_rank(np.array([2.0, 2.0, 1.0])) == 2.25
    assert stable_rank(np.array([1e-200, 1e-200])) == 2


def test_effective_rank() -> None:
    assert effective_rank(np.full(4, 0.1)) == pytest.approx(4)
    assert effective_rank(np.array([3.0, 1.0, 0.0])) == pytest.approx(0.75**-0.75 * 0.25**-0.25)
    assert effective_rank(np.array([5.0, 0.0])) == 1


@pytest.mark.parametrize(("share", "rank"), [(0.5, 1), (9 / 14, 1), (0.9, 2), (0.95, 3), (1, 3)])
def test_rank_of_energy(share: float, rank: int) -> None:
    assert rank_of_energy(np.array([1.0, 3.0, 2.0, 0.0]), share) == rank


@pytest.mark.parametrize("rank", [stable_rank, effective_rank, lambda values: rank_of_energy(values, 0.9)])
@pytest.mark.parametrize("size", [0, 3])
def test_of_nothing_but_zeros(rank: Callable[[np.ndarray], float], size: int) -> None:
    found = rank(np.zeros(size))
    assert found == 0
    assert math.isfinite(found)
