"""Small solvers that turn a Gram matrix into one coefficient per vector, in float64, vectorised over cells.

Each takes (cells, n, n) inner products and returns (cells, n) coefficients.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

PARALLEL = 0.9995


def slerp(gram: np.ndarray, *, t: float) -> np.ndarray:
    """sin((1-t) w) / sin w and sin(t w) / sin w; linear where |cos w| > 0.9995 or a vector is zero."""
    lengths = np.sqrt(gram[:, 0, 0]) * np.sqrt(gram[:, 1, 1])
    cosine = np.divide(gram[:, 0, 1], lengths, out=np.ones(len(gram)), where=lengths > 0)
    linear = np.abs(cosine) > PARALLEL
    angle = np.arccos(np.where(linear, 0.0, np.clip(cosine, -1, 1)))
    sine = np.sin(angle)
    shares = np.stack([np.sin((1 - t) * angle) / sine, np.sin(t * angle) / sine], axis=1)
    return np.where(linear[:, None], [1 - t, t], shares)


SOLVERS: dict[str, Callable[..., np.ndarray]] = {"slerp": slerp}
