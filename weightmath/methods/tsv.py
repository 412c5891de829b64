"""TSV-Merge: the leading singular vectors of each task, made orthogonal to each other."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, Number
from weightmath.functions import method


@method
def tsv(base: Model, models: Sequence[Model], *, scale: Number = 1) -> Vector:
    """Keep the leading singular triples of each of n task vectors, 1/n of them, and make them orthogonal.

    Formula:    Ui Si Vi' = mi - base, the first floor(rank / n) triples; U = [U1 .. Un], V = [V1 .. Vn];
                base + scale * polar(U) diag(S1 .. Sn) polar(V)', polar(X) the nearest matrix of orthonormal columns
    Parameters: scale   the paper's alpha (1)
    Scope:      each tensor, as the matrix [first axis, all others]. Tensors of fewer than two dimensions, and those
                with fewer rows or columns than there are models, take the mean of the differences.
    Passes:     each tensor beyond one tile is read twice. Memory: about 70 bytes per element of the largest tensor, for
                each model. Time: about 6 s for a decomposition of 2048 x 2048, growing with the cube.
    Fails:      where the singular values of a tensor do not converge.
    Reference:  Gargiulo et al., Task singular vectors: reducing task interference in model merging, arXiv 2412.00081.
    Differs:    the authors average convolutions, skip `text_projection` by name (here: `only`, `without`), and let a
                direction that two tasks share turn up once more as one that rounding chooses; here it counts once.
    Recipe:     `merged: tsv(base, [chat, code])`
    """
    return base + scale * f.whole_tensor("tsv", [model - base for model in models])
