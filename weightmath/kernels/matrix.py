"""Functions of whole tensors: what singular values say of them and of several of one shape, in float64.

A tensor counts as the matrix [first axis, all others]: a convolution's kernel has one row per output channel. Tensors
of fewer than two dimensions have no singular values; of them every function gives the mean of its operands.

A singular value counts as zero up to 2.2e-16 * (rows or columns, whichever are more) * the largest: the directions of
such values are decided by rounding, and no function here uses them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from weightmath.algebra.graph import Vector
from weightmath.errors import NumericError
from weightmath.kernels.one_thread import one_thread
from weightmath.kernels.select import keep_count, magnitude_keys, mask_rows, threshold_rows

Triples: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]

EPSILON = float(np.finfo(np.float64).eps)


def evaluate(node: Vector, operands: Sequence[np.ndarray]) -> np.ndarray:
    """The value of a `whole_tensor` node for one tensor, float64; NaN throughout where an operand is not finite.

    `operands` are arrays of the tensor's shape. Raises NumericError where the decomposition does not converge. On one
    thread, since the bits of a decomposition depend on the number.
    """
    options = {key: value for key, value in node.options if key != "function"}
    shape = operands[0].shape
    if not all(np.isfinite(operand).all() for operand in operands):
        return np.full(shape, np.nan)
    doubles = [operand.astype(np.float64) for operand in operands]
    if len(shape) < 2 or doubles[0].size == 0:
        return _mean(doubles)
    matrices = [double.reshape(shape[0], -1) for double in doubles]
    with one_thread():
        return FUNCTIONS[node.option("function")](*matrices, **options).reshape(shape)


def _sum(matrices: Sequence[np.ndarray]) -> np.ndarray:
    total = matrices[0].copy()
    for matrix in matrices[1:]:
        total += matrix
    return total


def _mean(matrices: Sequence[np.ndarray]) -> np.ndarray:
    return np.asarray(_sum(matrices) / len(matrices))


def triples(matrix: np.ndarray, floor: float = 0.0) -> Triples:
    """The singular triples u (rows, k), s (k,), v (k, columns) with u * s @ v the matrix, largest first.

    Only those whose singular value counts as more than zero, beside the largest or beside `floor`.
    """
    try:
        u, s, v = np.linalg.svd(matrix, full_matrices=False)
    except np.linalg.LinAlgError:
        raise NumericError(
            f"the singular values of a matrix of {matrix.shape[0]} x {matrix.shape[1]} did not converge",
            hint="leave its tensor out of the function: only(x, pattern)",
        ) from None
    rank = np.count_nonzero(s > EPSILON * max(matrix.shape) * max(float(s[0]), floor))
    return u[:, :rank], s[:rank], v[:rank]


def polar(matrix: np.ndarray) -> np.ndarray:
    """The polar factor u @ v of a matrix: the nearest one whose singular values are all 1, or 0 where they were."""
    u, _, v = triples(matrix)
    return np.asarray(u @ v)


def truncated_svd(matrix: np.ndarray, *, rank: int = 0, energy: float = 1.0) -> np.ndarray:
    """The nearest matrix of a rank: of that rank, or of the least that holds a share of the squared singular values."""
    u, s, v = triples(matrix)
    held = np.cumsum(s * s)
    kept = rank or 1 + np.count_nonzero(held < energy * held[-1:])
    return np.asarray((u[:, :kept] * s[:kept]) @ v[:kept])


def tsv(*deltas: np.ndarray) -> np.ndarray:
    """Task singular vectors: the leading triples of each, together of full rank, with u and v made orthogonal.

    Where there are more deltas than rows or columns, and none can keep a triple, the mean.
    """
    each = min(deltas[0].shape) // len(deltas)
    if each == 0:
        return _mean(deltas)
    return _whitened([_leading(triples(delta), each) for delta in deltas], lambda s: s)


def iso_c(*deltas: np.ndarray) -> np.ndarray:
    """The sum, with all its singular values made their mean."""
    return _whitened([triples(_sum(deltas))], _level)


def iso_cts(*deltas: np.ndarray, common_share: float) -> np.ndarray:
    """As `iso_c`, with the least triples of the sum replaced by the leading ones of what each has besides."""
    rank = min(deltas[0].shape)
    common = keep_count(common_share, rank)
    each = min(round((rank - common) / len(deltas)), rank // len(deltas))
    shared = _leading(triples(_sum(deltas)), rank - each * len(deltas))
    parts = [shared]
    for delta in deltas:
        rest = delta - shared[0] @ (shared[0].T @ delta)
        parts.append(_leading(triples(rest, floor=float(np.linalg.norm(delta))), each))
    return _whitened(parts, _level)


def _leading(parts: Triples, count: int) -> Triples:
    u, s, v = parts
    return u[:, :count], s[:count], v[:count]


def _level(s: np.ndarray) -> np.ndarray:
    return np.full(len(s), s.mean() if len(s) else 0.0)


def _whitened(parts: Sequence[Triples], scale: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Triples side by side, their u and v replaced by the polar factors, their s by what `scale` makes of it."""
    u = np.hstack([part[0] for part in parts])
    v = np.vstack([part[2] for part in parts])
    s = scale(np.concatenate([part[1] for part in parts]))
    if len(s) == 0:
        return np.zeros((len(u), v.shape[1]))
    return np.asarray((polar(u) * s) @ polar(v))


def knots(*deltas: np.ndarray, density: float) -> np.ndarray:
    """TIES of the deltas in the basis of their common column space: u of the decomposition of all, side by side."""
    u, s, v = triples(np.hstack(deltas))
    parts = np.split(s[:, None] * v, len(deltas), axis=1)
    trimmed = [np.where(_largest_mask(part, density), part, 0.0) for part in parts]
    elected = np.sign(_sum(trimmed))
    voters = [(np.sign(part) == elected) & (part != 0) for part in trimmed]
    total = _sum([np.where(voter, part, 0.0) for voter, part in zip(voters, trimmed, strict=True)])
    return np.asarray(u @ (total / np.maximum(np.sum(voters, axis=0), 1)))


def _largest_mask(x: np.ndarray, density: float) -> np.ndarray:
    keys = magnitude_keys(np.ascontiguousarray(x)).reshape(1, -1)
    threshold, ties = threshold_rows(keys, keep_count(density, x.size))
    return mask_rows(keys, threshold, ties, np.empty(keys.shape, bool)).reshape(x.shape)


def wudi(*deltas: np.ndarray, steps: int, rate: float) -> np.ndarray:
    """Adam from the sum of the deltas d_i, towards the x of least sum(norm((x - d_i) d_i^T)^2 / norm(d_i)^2).

    The gradient is 2 (x pull - target), so that a step costs one product of matrices, however many deltas there are.
    """
    columns = deltas[0].shape[1]
    pull, target = np.zeros((columns, columns)), np.zeros_like(deltas[0])
    for delta in deltas:
        square = float(np.sum(delta * delta))
        if square > 0:
            own = delta.T @ delta / square
            pull += own
            target += delta @ own
    x = _sum(deltas)
    mean, spread = np.zeros_like(x), np.zeros_like(x)
    for step in range(1, steps + 1):
        gradient = 2 * (x @ pull - target)
        mean += 0.1 * (gradient - mean)
        spread += 0.001 * (gradient * gradient - spread)
        x -= rate / (1 - 0.9**step) * mean / (np.sqrt(spread / (1 - 0.999**step)) + 1e-8)
    return x


FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "truncated_svd": truncated_svd,
    "tsv": tsv,
    "iso_c": iso_c,
    "iso_cts": iso_cts,
    "knots": knots,
    "wudi": wudi,
}
