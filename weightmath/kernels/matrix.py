"""Functions of whole tensors: singular values and what is made of them, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from weightmath.graph import Vector


def low_rank(x: np.ndarray, *, rank: int) -> np.ndarray:
    """The nearest matrix of at most that rank; tensors of fewer than two dimensions as they are."""
    if x.ndim < 2 or x.size == 0:
        return x
    flat = x.reshape(len(x), -1).astype(np.float64)
    u, s, v = np.linalg.svd(flat, full_matrices=False)
    return np.asarray((u[:, :rank] * s[:rank]) @ v[:rank]).reshape(x.shape)


FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {"low_rank": low_rank}


def evaluate(node: Vector, operands: Sequence[np.ndarray]) -> np.ndarray:
    """The value of a whole-tensor node for one tensor."""
    options = {key: value for key, value in node.options if key != "function"}
    return FUNCTIONS[node.option("function")](*operands, **options)
