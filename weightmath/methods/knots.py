"""KnOTS: TIES of low-rank task vectors in a basis that they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, Number, Role
from weightmath.functions import method

Kept: TypeAlias = Annotated[float, Role("plain number", 0, 1, low_open=True)]


@method
def knots(base: Model, models: Sequence[Model], *, density: Kept = 0.2, scale: Number = 1) -> Vector:
    """Align task vectors by a decomposition of all of them, side by side, and merge them there by TIES.

    Formula:    U S [V1' .. Vn'] = [m1 - base .. mn - base];  base + scale * U ties(S V1' .. S Vn'), ties as in `ties`:
                the largest of each, the sign of their sum, the mean of those that have it
    Parameters: density   share of the elements of S Vi' that are kept, above 0 to 1 (0.2, the authors' top 20%)
                scale     of the merged difference (1; the authors use 0.6 for eight vision tasks)
    Scope:      each tensor, as the matrix [first axis, all others]. Tensors of fewer than two dimensions take the mean
                of the differences.
    Passes:     each tensor beyond one tile is read twice. Memory: about 70 bytes per element of the largest tensor, for
                each model. Time: about 6 s for a decomposition of 2048 x 2048, growing with the cube.
    Fails:      where the singular values of a tensor do not converge.
    Reference:  Stoica et al., Model merging with SVD to tie the knots, arXiv 2410.19735.
    Differs:    meant for differences of low rank, such as merged LoRA adapters; any are taken. The authors trim over
                all tensors together, here each by itself; they count singular values up to 0.00001 as 0, join a
                layer's bias to its weight, and leave other tensors alone.
    Recipe:     `merged: knots(base, [chat, code], density=0.3)`
    """
    return base + scale * f.whole_tensor("knots", [model - base for model in models], density=density)
