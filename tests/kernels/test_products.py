"""Sums by numkong: against exact sums, for few and many vectors, by each way the processor offers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations, combinations_with_replacement

import numkong
import numpy as np
import pytest

from weightmath.kernels import products


def vectors(count: int, rows: int, columns: int) -> list[np.ndarray]:
    rng = np.random.default_rng(count + columns)
    return [(3 + rng.standard_normal((rows, columns))).astype(np.float32) for _ in range(count)]


def exact(xs: list[np.ndarray], row: int) -> list[float]:
    """The upper triangle of the Gram matrix, each sum rounded once: products of two float32 are exact in float64."""
    doubles = [x[row].astype(np.float64) for x in xs]
    return [math.fsum(a * b) for a, b in combinations_with_replacement(doubles, 2)]


def exact_distances(xs: list[np.ndarray], row: int) -> list[float]:
    """Those of the origin and the points, squared; what is subtracted in float64 is rounded once."""
    doubles = [x[row].astype(np.float64) for x in xs]
    return [*(math.fsum(x * x) for x in doubles), *(math.fsum((a - b) ** 2) for a, b in combinations(doubles, 2))]


WAYS = {
    "the processor's best": set(numkong.get_capabilities()),
    "vectors of 256 bits": {"haswell"},
    "no vectors": set[str](),
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Without some of what the processor can do, as if it were another."""
    there = [name for name, has in numkong.get_capabilities().items() if has and name != "serial"]
    for name in there:
        if name not in WAYS[request.param]:
            numkong.disable_capability(name)
    yield
    for name in there:
        numkong.enable_capability(name)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("columns", [1, 8191, 8193, 65_536])
def test_against_exact_sums(columns: int) -> None:
    a, b = vectors(2, 3, columns)
    for row in range(3):
        aa, ab, bb = exact([a, b], row)
        np.testing.assert_allclose(products.squares(a)[row], [aa], rtol=1e-13)
        np.testing.assert_allclose(products.dots(a, b)[row], [ab], rtol=1e-13)
        np.testing.assert_allclose(products.gram(a, b)[row], [aa, ab, bb], rtol=1e-13)
        np.testing.assert_allclose(products.squared_distances(a, b)[row], exact_distances([a, b], row), rtol=1e-13)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("columns", [0, 1, 300, 65_536])
def test_sums_of_floats_and_of_bytes(columns: int) -> None:
    (x,) = vectors(1, 3, columns)
    doubles = x.astype(np.float64) / 3
    for values in (x, doubles):
        expected = [[math.fsum(row)] for row in values]
        np.testing.assert_allclose(products.sums(values), expected, rtol=1e-13)
    there = (x > 3).view(np.uint8)
    np.testing.assert_array_equal(products.sums(there), there.sum(axis=1, keepdims=True))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("count", "columns"), [(6, 20_000), (20, 9000), (100, 301), (300, 20)])
def test_many_vectors(count: int, columns: int) -> None:
    """Products of many long vectors are taken at once, in blocks."""
    xs = vectors(count, 2, columns)
    found = products.gram(*xs)
    assert found.shape == (2, count * (count + 1) // 2)
    np.testing.assert_allclose(found[1], exact(xs, 1), rtol=1e-13)


def test_what_is_close_together_is_subtracted_in_float64() -> None:
    (first,) = vectors(1, 1, 9000)
    others = [np.nextafter(first, np.float32(9)), first.astype(np.float64) + 1e-12]
    xs = [first, *others]
    np.testing.assert_allclose(products.squared_distances(*xs)[0], exact_distances(xs, 0), rtol=1e-13)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("columns", [1, 7, 8, 9, 300, 65_535])
def test_opposite_signs(columns: int) -> None:
    rng = np.random.default_rng(columns)
    a, b = rng.integers(-1, 2, (2, 5, columns)).astype(np.float32)
    a[0], b[0] = -0.0, -1.0
    np.testing.assert_array_equal(products.opposed(a, b)[:, 0], np.count_nonzero(a * b == -1, axis=1))


def test_nothing() -> None:
    for x in (np.ones(shape, np.float32) for shape in ((0, 4), (3, 0), (1, 0))):
        for product, numbers in ((products.gram, 3), (products.squared_distances, 3), (products.opposed, 1)):
            np.testing.assert_array_equal(product(x, x), np.zeros((len(x), numbers)))
