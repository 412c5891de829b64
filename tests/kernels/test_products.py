"""Dot products by BLAS: against exact sums, over block borders, for many vectors, on any number of threads."""

from __future__ import annotations

import math

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from weightmath.kernels import products
from weightmath.kernels.products import summed


def vectors(count: int, rows: int, columns: int) -> list[np.ndarray]:
    rng = np.random.default_rng(count + columns)
    return [(3 + rng.standard_normal((rows, columns))).astype(np.float32) for _ in range(count)]


def exact(xs: list[np.ndarray], row: int) -> list[float]:
    """The upper triangle of the Gram matrix, each sum rounded once: products of two float32 are exact in float64."""
    doubles = [x[row].astype(np.float64) for x in xs]
    return [math.fsum(doubles[i] * doubles[j]) for i in range(len(xs)) for j in range(i, len(xs))]


@pytest.mark.parametrize("columns", [8191, 8192, 8193, 16_384, 65_536])
def test_over_the_borders_of_blocks(columns: int) -> None:
    a, b = vectors(2, 3, columns)
    for row in range(3):
        aa, ab, bb = exact([a, b], row)
        np.testing.assert_allclose(summed(products.squares, a)[row], [aa], rtol=1e-14)
        np.testing.assert_allclose(summed(products.dots, a, b)[row], [ab], rtol=1e-14)
        np.testing.assert_allclose(summed(products.gram, a, b)[row], [aa, ab, bb], rtol=1e-14)


@pytest.mark.parametrize(("count", "columns"), [(6, 20_000), (20, 3000), (100, 301), (300, 20)])
def test_many_vectors(count: int, columns: int) -> None:
    """The more there are, the shorter are the blocks."""
    xs = vectors(count, 2, columns)
    found = summed(products.gram, *xs)
    assert found.shape == (2, count * (count + 1) // 2)
    np.testing.assert_allclose(found[1], exact(xs, 1), rtol=1e-14)


def test_changes_are_subtracted_in_float64() -> None:
    (first,) = vectors(1, 1, 9000)
    others = [np.nextafter(first, np.float32(9)), first.astype(np.float64) + 1e-12]
    found = summed(products.changes, first, *others)[0]
    changes = [first.astype(np.float64), *(other.astype(np.float64) - first for other in others)]
    expected = [math.fsum((a * b)[0]) for i, a in enumerate(changes) for b in changes[i:]]
    np.testing.assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_threads_of_blas_and_neighbours_change_no_bit(count: int) -> None:
    xs = vectors(count, 4, 20_001)
    with threadpool_limits(1):
        alone = [summed(products.gram, *(x[row : row + 1] for x in xs))[0] for row in range(4)]
    with threadpool_limits(4):
        together = summed(products.gram, *xs)
    np.testing.assert_array_equal(together, alone)
