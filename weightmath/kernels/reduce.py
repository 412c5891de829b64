"""Statistics in three steps that can be taken in pieces: partial per tile, fold in a fixed order, finish once.

All arithmetic is float64; sums are those of `kernels.products`. A row's partial depends on that row alone: not on the
rows computed beside it, or on its place in memory. So whoever folds the same tiles in the same order gets the same
bits. An empty cell is 0 in every statistic.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from weightmath.kernels import products
from weightmath.kernels.products import upper
from weightmath.kernels.scratch import borrow


@dataclass(frozen=True)
class Reduction:
    """One statistic of n vectors.

    Attributes
        name      its name in recipes
        size      numbers in the state of one cell, from the number of vectors
        partial   vectors, each (rows, cols) of float32 or float64 -> states (rows, size) of its rows;
                  `count` and `density` take bool too
        fold      two arrays of states (cells, size) -> the states of both together; the first comes first
        finish    states (cells, size) -> (cells,) float64; (cells, n, n) for those of all pairs of n vectors
        identity  the state of nothing, where that is not all zeros
    """

    name: str
    size: Callable[[int], int]
    partial: Callable[..., np.ndarray]
    fold: Callable[[np.ndarray, np.ndarray], np.ndarray]
    finish: Callable[[np.ndarray], np.ndarray]
    identity: tuple[float, ...] = ()

    def empty(self, cells: int, vectors: int = 1) -> np.ndarray:
        """States (cells, size) that change nothing they are folded with."""
        state = np.zeros((cells, self.size(vectors)))
        if self.identity:
            state[:] = self.identity
        return state


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, and 0 where b is 0."""
    quotient = np.zeros(a.shape)
    np.divide(a, b, out=quotient, where=b != 0)
    return quotient


def _add(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    total: np.ndarray = a + b
    return total


def _first(state: np.ndarray) -> np.ndarray:
    # Never -0.0: the sign would depend on whether it was folded with nothing.
    value: np.ndarray = state[:, 0] + 0.0
    return value


def _root(state: np.ndarray) -> np.ndarray:
    root: np.ndarray = np.sqrt(state[:, 0])
    return root


def _share(state: np.ndarray) -> np.ndarray:
    return _divide(state[:, 1], state[:, 0])


def _with_size(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """States (n, value) of the rows of x."""
    return np.column_stack([np.full(len(x), float(x.shape[1])), values])


def _mean(x: np.ndarray) -> np.ndarray:
    return _with_size(x, products.sums(x))


def _count(x: np.ndarray) -> np.ndarray:
    there = borrow("reduce.there", x.shape, bool)
    np.not_equal(x, 0, out=there)
    return products.sums(there.view(np.uint8))


def _density(x: np.ndarray) -> np.ndarray:
    return _with_size(x, _count(x))


def _gram_size(vectors: int) -> int:
    return vectors * (vectors + 1) // 2


def _gram_finish(state: np.ndarray) -> np.ndarray:
    n = (math.isqrt(8 * state.shape[1] + 1) - 1) // 2
    i, j = upper(n)
    gram = np.empty((len(state), n, n))
    gram[:, i, j] = gram[:, j, i] = state + 0.0
    return gram


def _pairs(vectors: int) -> int:
    return vectors * (vectors - 1) // 2


def _pairs_finish(state: np.ndarray) -> np.ndarray:
    n = (math.isqrt(8 * state.shape[1] + 1) + 1) // 2
    i, j = upper(n, 1)
    matrix = np.zeros((len(state), n, n))
    matrix[:, i, j] = matrix[:, j, i] = state
    return matrix


def _cosine_finish(state: np.ndarray) -> np.ndarray:
    """Of the states of `gram`. Rounding must not carry it beyond 1, where acos is NaN."""
    aa, ab, bb = state.T
    return np.clip(_divide(ab, np.sqrt(aa) * np.sqrt(bb)) + 0.0, -1.0, 1.0)


def _moments(x: np.ndarray) -> np.ndarray:
    """(n, mean, sum of squared deviations) of each row."""
    rows, n = x.shape
    if n == 0:
        return np.zeros((rows, 3))
    deviations = borrow("reduce.deviations", x.shape, np.float64)
    np.copyto(deviations, x)
    # Centred on an element first, so that the deviations of a constant are 0 and not its mean's rounding.
    origin = deviations[:, :1].copy()
    deviations -= origin
    centre = deviations.sum(axis=1, keepdims=True) / n
    deviations -= centre
    np.multiply(deviations, deviations, out=deviations)
    squares = deviations.sum(axis=1, keepdims=True)
    return np.hstack([np.full((rows, 1), float(n)), origin + centre, squares])


def _merge_moments(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979."""
    (na, mean_a, m2a), (nb, mean_b, m2b) = a.T, b.T
    share = _divide(nb, na + nb)
    step = mean_b - mean_a
    return np.column_stack([na + nb, mean_a + step * share, m2a + m2b + step * step * (na * share)])


def _std_finish(state: np.ndarray) -> np.ndarray:
    return _root(_divide(state[:, 2:], state[:, :1]))


def _extreme(name: str, choose: np.ufunc, identity: float) -> Reduction:
    """`min` or `max`: states (n, extreme), so that an empty cell can be told from an infinite one."""

    def partial(x: np.ndarray) -> np.ndarray:
        return _with_size(x, choose.reduce(x, axis=1, initial=identity))

    def fold(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.column_stack([a[:, 0] + b[:, 0], choose(a[:, 1], b[:, 1])])

    def finish(state: np.ndarray) -> np.ndarray:
        return np.where(state[:, 0] > 0, state[:, 1] + 0.0, 0.0)

    return Reduction(name, lambda _: 2, partial, fold, finish, (0.0, identity))


def _numbers(count: int) -> Callable[[int], int]:
    return lambda _: count


REDUCTIONS: dict[str, Reduction] = {
    reduction.name: reduction
    for reduction in (
        Reduction("sum", _numbers(1), products.sums, _add, _first),
        Reduction("mean", _numbers(2), _mean, _add, _share),
        Reduction("std", _numbers(3), _moments, _merge_moments, _std_finish),
        Reduction("norm", _numbers(1), products.squares, _add, _root),
        Reduction("dot", _numbers(1), products.dots, _add, _first),
        Reduction("cosine", _numbers(3), products.gram, _add, _cosine_finish),
        _extreme("min", np.minimum, np.inf),
        _extreme("max", np.maximum, -np.inf),
        Reduction("count", _numbers(1), _count, _add, _first),
        Reduction("density", _numbers(2), _density, _add, _share),
        Reduction("gram", _gram_size, products.gram, _add, _gram_finish),
        Reduction("squared_distances", _gram_size, products.squared_distances, _add, _pairs_finish),
        Reduction("opposed", _pairs, products.opposed, _add, _pairs_finish),
    )
}
"""Every statistic by name. sum, mean, std (population), norm (2-norm), min, max; count and density: the number and
the share of elements that are not 0; dot and cosine (0 with a zero vector) of two vectors; gram: all dot products of
n vectors, symmetric; squared_distances: of the origin and n points; opposed: for all pairs of n vectors the number of
elements with opposite signs. sum, min and max carry NaN on."""
