"""Iso-CTS: a flat spectrum over what tasks share and what each has alone."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, Number, PlainShare
from weightmath.functions import method


@method
def iso_cts(base: Model, models: Sequence[Model], *, common: PlainShare = 0.8, scale: Number = 1) -> Vector:
    """Iso-C with the last directions of the sum replaced by the leading ones of what each task has besides.

    Formula:    U S V' = sum(mi - base), its first k triples; Ui Si Vi' = (I - U U')(mi - base), the first e triples of
                each; base + scale * mean(S, S1 .. Sn) polar([U U1 .. Un]) polar([V V1 .. Vn])', with
                e = round((rank - floor(common rank)) / n) and k = rank - n e
    Parameters: common   share of the rank that is the tasks' common space, 0 to 1 (0.8)
                scale    of the merged difference (1; the paper tunes it on validation data)
    Scope:      each tensor, as the matrix [first axis, all others]. Tensors of fewer than two dimensions take the mean
                of the differences.
    Passes:     each tensor beyond one tile is read twice. Memory: about 70 bytes per element of the largest tensor, for
                each model. Time: about 6 s for a decomposition of 2048 x 2048, growing with the cube.
    Fails:      where the singular values of a tensor do not converge.
    Reference:  Marczak et al., No task left behind: isotropic model merging with common and task-specific subspaces,
                arXiv 2502.04959.
    Differs:    as for `iso_c`: the authors average convolutions, and count directions that rounding chooses.
    Recipe:     `merged: iso_cts(base, [chat, code], common=0.8)`
    """
    deltas = [model - base for model in models]
    return base + scale * f.whole_tensor("iso_cts", deltas, common_share=common)
