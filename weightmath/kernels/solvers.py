"""Small solvers that turn a Gram matrix into one coefficient per vector, in float64, vectorised over cells.

Each takes (cells, n, n) inner products, numbers as (cells,) arrays, and plain options, and returns (cells, n)
coefficients. A cell's coefficients depend on its own numbers alone, bit for bit, however many cells stand beside it:
sums run over the vectors one by one, and a cell that has converged is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from weightmath.algebra.graph import Vector
from weightmath.kernels.one_thread import one_thread

STEPS = 100  # of an iteration, at most
SETTLED = 1e-13  # a step that changes no coefficient by more is the last
DEPENDENT = 1e-6  # a vector is in a span that it leaves by less of its length
OPPOSED = 1e-6  # unit vectors whose mean is shorter than this have no mean direction


def solve(node: Vector, gram: np.ndarray, numbers: Sequence[Any]) -> np.ndarray:
    """The coefficients (cells, n) of a `coefficients` node.

    Parameters
        gram     (n, n) for one cell, or (cells, n, n)
        numbers  what the solver takes besides: each one number for all cells, or one for each
    """
    if gram.ndim == 2 and all(np.ndim(number) == 0 for number in numbers):
        return _solved(node.options, len(gram), gram.tobytes(), tuple(float(number) for number in numbers))
    columns = [np.asarray(number, np.float64).reshape(-1) for number in numbers]
    matrices = gram[None] if gram.ndim == 2 else gram
    cells = max([len(matrices), *(len(column) for column in columns)])
    spread = [np.broadcast_to(column, (cells,)) for column in columns]
    return _solver(node.options)(np.broadcast_to(matrices, (cells, *matrices.shape[1:])), *spread)


# Every chunk of a tensor asks for the coefficients of its cell, and an iteration takes longer than a chunk.
@lru_cache(maxsize=1024)
def _solved(options: tuple[tuple[str, Any], ...], n: int, gram: bytes, numbers: tuple[float, ...]) -> np.ndarray:
    """The coefficients (1, n) of one cell."""
    shares = _solver(options)(np.frombuffer(gram).reshape(1, n, n), *(np.array([number]) for number in numbers))
    shares.setflags(write=False)
    return shares


def _solver(options: tuple[tuple[str, Any], ...]) -> Callable[..., np.ndarray]:
    """The solver that a node's options name, with its own options."""
    own = dict(options)
    return partial(SOLVERS[own.pop("solver")], **own)


def _times(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Matrix times vector in each cell: (cells, n)."""
    # Term by term: einsum, matmul and sum choose the order of addition by shape, and so by who shares the call.
    return np.asarray(sum(matrices[:, :, j] * vectors[:, j, None] for j in range(vectors.shape[1])))


def _along(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Inner product in each cell: (cells, 1)."""
    return np.asarray(sum(a[:, j] * b[:, j] for j in range(a.shape[1])))[:, None]


def _length(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Length, in the metric of the matrices, in each cell: (cells, 1)."""
    return np.asarray(np.sqrt(np.maximum(_along(vectors, _times(matrices, vectors)), 0)))


def _ratio(a: np.ndarray, b: np.ndarray, otherwise: float) -> np.ndarray:
    """a / b, and a given number where b is 0."""
    a, b = np.broadcast_arrays(a, b)
    return np.asarray(np.divide(a, b, out=np.full(b.shape, otherwise), where=b != 0))


def _lengths_and_cosines(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lengths (cells, n) of the vectors and the cosines (cells, n, n) between them, 0 with a zero vector."""
    lengths = np.sqrt(np.diagonal(gram, axis1=1, axis2=2))
    cosines = _ratio(gram, lengths[:, :, None] * lengths[:, None, :], 0.0)
    return lengths, np.clip(cosines, -1, 1)


def slerp(gram: np.ndarray, t: np.ndarray, *, straight: float) -> np.ndarray:
    """sin((1-t) w) / sin w and sin(t w) / sin w; 1-t and t where |cos w| > `straight` or a vector is zero."""
    lengths, cosines = _lengths_and_cosines(gram)
    cosine = cosines[:, 0, 1]
    linear = (np.abs(cosine) > straight) | (lengths[:, 0] * lengths[:, 1] == 0)
    angle = np.arccos(np.where(linear, 0.0, cosine))
    sine = np.where(linear, 1.0, np.sin(angle))
    curved = np.stack([np.sin((1 - t) * angle), np.sin(t * angle)], axis=1) / sine[:, None]
    return np.where(linear[:, None], np.stack([1 - t, t], axis=1), curved)


def nuslerp(gram: np.ndarray, first: np.ndarray, second: np.ndarray, *, straight: float) -> np.ndarray:
    """Slerp at t = second / (first + second); at 1/2 where the weights cancel."""
    total = first + second
    cancels = np.abs(total) <= OPPOSED * (np.abs(first) + np.abs(second))
    return slerp(gram, _ratio(second, np.where(cancels, 0.0, total), 0.5), straight=straight)


def karcher(gram: np.ndarray, *weights: np.ndarray) -> np.ndarray:
    """The weighted mean of directions on the sphere, as long as the weighted mean of the lengths.

    From the normalised mean of unit vectors u_i, walk along the mean tangent sum(a_i log_x(u_i)) until it vanishes.
    Zero vectors take no part. Where the unit vectors cancel, the weighted average.
    """
    shares = np.stack(weights, axis=1)
    shares = shares / _along(shares, np.ones_like(shares))
    lengths, cosines = _lengths_and_cosines(gram)
    pulls = shares * (lengths > 0)
    pulls = _ratio(pulls, _along(pulls, np.ones_like(pulls)), 0.0)
    size = _length(cosines, pulls)
    cancels = size <= OPPOSED
    place = pulls / np.where(cancels, 1.0, size)
    moving = np.flatnonzero(~cancels[:, 0])
    for _ in range(STEPS):
        if len(moving) == 0:
            break
        place[moving], step = _walk(cosines[moving], place[moving], pulls[moving])
        moving = moving[~(np.abs(step).max(axis=1) <= SETTLED)]
    return np.asarray(np.where(cancels, shares, _ratio(place, lengths, 0.0) * _along(pulls, lengths)))


def _walk(cosines: np.ndarray, place: np.ndarray, pulls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One step along the mean tangent: the new place on the sphere, and the step, both as coefficients."""
    along = np.clip(_times(cosines, place), -1, 1)
    sine = np.sqrt((1 - along) * (1 + along))
    # Straight on and straight back the tangent has no direction; the limit ahead is right for both.
    far = pulls * np.where(sine > SETTLED, _ratio(np.arccos(along), sine, 1.0), 1.0)
    step = far - place * _along(far, along)
    length = _length(cosines, step)
    moved = np.cos(length) * place + _ratio(np.sin(length), length, 1.0) * step
    return moved / _length(cosines, moved), step


def geometric_median(gram: np.ndarray, *weights: np.ndarray) -> np.ndarray:
    """The point whose weighted sum of distances to the origin and to the vectors is least, as coefficients.

    The first weight is the origin's. Where the median is one of the points, it is found by Kuhn's condition; elsewhere
    Weiszfeld's iteration goes to it from the weighted average.
    """
    shares = np.stack(weights, axis=1)
    shares = shares / _along(shares, np.ones_like(shares))
    gram = np.pad(gram, ((0, 0), (1, 0), (1, 0)))
    place = shares.copy()
    moving = np.arange(len(gram))
    for point in range(shares.shape[1]):
        median = _is_median(gram[moving], shares[moving], point)
        place[moving[median]] = np.eye(shares.shape[1])[point]
        moving = moving[~median]
    for _ in range(STEPS):
        if len(moving) == 0:
            break
        before = place[moving]
        pulls = shares[moving] / _distances(gram[moving], before)
        place[moving] = pulls / _along(pulls, np.ones_like(pulls))
        moving = moving[~(np.abs(place[moving] - before).max(axis=1) <= SETTLED)]
    return np.asarray(place[:, 1:])


def _is_median(gram: np.ndarray, shares: np.ndarray, point: int) -> np.ndarray:
    """Kuhn's condition, in each cell: the pull of all other points is less than the weight of those at this one."""
    squares = np.diagonal(gram, axis1=1, axis2=2)
    apart = np.sqrt(np.maximum(squares + squares[:, point, None] - 2 * gram[:, point], 0))
    pulls = _ratio(shares, apart, 0.0)
    pulls[:, point] -= _along(pulls, np.ones_like(pulls))[:, 0]
    here = _along(shares, (apart == 0).astype(np.float64))
    # A tie of two points, or more on a line, is left to the iteration: it stays at their average.
    return np.asarray(_length(gram, pulls) < here * (1 - 1e-9))[:, 0]


def _distances(gram: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Distances (cells, n) of the points from a place, which is at none of them for long."""
    squares = np.diagonal(gram, axis1=1, axis2=2)
    towards = _times(gram, place)
    apart = squares - 2 * towards + _along(place, towards)
    return np.asarray(np.sqrt(np.maximum(apart, 1e-14 * squares.max(axis=1, keepdims=True))))


def model_stock(gram: np.ndarray, *, clip: bool) -> np.ndarray:
    """t/n for each vector: t = n c / (1 + (n-1) c), c the mean cosine over all pairs; 0 where that is 1 / 0."""
    n = gram.shape[1]
    _, cosines = _lengths_and_cosines(gram)
    pairs = [cosines[:, i, j] for i in range(n) for j in range(i + 1, n)]
    cosine = np.asarray(sum(pairs)) / len(pairs)
    below = 1 + (n - 1) * cosine
    share = _ratio(n * cosine, np.where(below <= SETTLED, 0.0, below), 0.0)
    share = np.maximum(share, 0.0) if clip else share
    return np.repeat(share[:, None] / n, n, axis=1)


def gram_schmidt(gram: np.ndarray, *, direction: int) -> np.ndarray:
    """That direction of the orthonormal basis that the vectors make in their order; 0 where it lies among the earlier.

    The Gram matrix is the metric, so that coefficients are orthogonalised as vectors would be.
    """
    basis: list[np.ndarray] = []
    for own in range(direction + 1):
        rest = np.broadcast_to(np.eye(gram.shape[1])[own], gram.shape[:2])
        for earlier in basis:
            rest = rest - _along(earlier, _times(gram, rest)) * earlier
        length = _length(gram, rest)
        among = length <= DEPENDENT * np.sqrt(gram[:, own, own, None])
        basis.append(_ratio(rest, np.where(among, 0.0, length), 0.0))
    return basis[direction]


def principal(gram: np.ndarray, *, direction: int) -> np.ndarray:
    """That principal direction, at length 1, of centred vectors; 0 where they do not vary in it.

    On it the last vector lies ahead of the first.
    """
    bad = ~np.isfinite(gram).all(axis=(1, 2))[:, None]
    with one_thread():
        values, directions = np.linalg.eigh(np.where(bad[:, :, None], 0.0, gram))
    square, along = values[:, -1 - direction, None], directions[:, :, -1 - direction]
    flat = square <= DEPENDENT**2 * values[:, -1:]
    unit = _ratio(along, np.sqrt(np.where(flat, 0.0, square)), 0.0)
    places = _times(gram, unit)
    backwards = places[:, -1:] < places[:, :1]
    return np.where(bad, np.nan, np.where(backwards, -unit, unit))


SOLVERS: dict[str, Callable[..., np.ndarray]] = {
    "slerp": slerp,
    "nuslerp": nuslerp,
    "karcher": karcher,
    "geometric_median": geometric_median,
    "model_stock": model_stock,
    "gram_schmidt": gram_schmidt,
    "principal": principal,
}
