"""Values of an element that depend on all elements of its tensor, or of its row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weightmath.algebra.graph import Vector
from weightmath.kernels import matrix
from weightmath.kernels.rank import rank


def evaluate(node: Vector, operands: Sequence[np.ndarray]) -> np.ndarray:
    """The value of a node of `plan.WHOLE_TENSOR`, float64, for whole rows of one tensor, or all of it."""
    if node.op == "rank":
        return rank(operands[0], node.option("scope"))
    return matrix.evaluate(node, operands)
