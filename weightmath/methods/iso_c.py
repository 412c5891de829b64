"""Iso-C: task arithmetic with a flat spectrum."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, Number
from weightmath.functions import method


@method
def iso_c(base: Model, models: Sequence[Model], *, scale: Number = 1) -> Vector:
    """Add up the task vectors and make all singular values of the sum their mean.

    Formula:    U S V' = (m1 - base) + .. + (mn - base);  base + scale * mean(S) U V'
    Parameters: scale   of the merged difference (1; the paper tunes it on validation data)
    Scope:      each tensor, as the matrix [first axis, all others]. Tensors of fewer than two dimensions take the mean
                of the differences, not the sum, as the authors' code does.
    Passes:     each tensor beyond one tile is read twice. Memory: about 70 bytes per element of the largest tensor, for
                each model. Time: about 6 s for a decomposition of 2048 x 2048, growing with the cube.
    Fails:      where the singular values of a tensor do not converge.
    Reference:  Marczak et al., No task left behind: isotropic model merging with common and task-specific subspaces,
                arXiv 2502.04959.
    Differs:    the authors average convolutions, and give a singular value of 0, whose direction rounding chooses, the
                mean as well (a matrix with rows that no task changed has such); here it stays 0 and is not in the mean.
    Recipe:     `merged: iso_c(base, [chat, code])`
    """
    return base + scale * f.whole_tensor("iso_c", [model - base for model in models])
