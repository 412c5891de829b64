"""Low rank: a task vector of few singular directions, as a LoRA adapter is."""

from __future__ import annotations

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Count, Model, Number
from weightmath.functions import method
from weightmath.functions.matrix import Energy


@method
def low_rank(
    base: Model, model: Model, *, rank: Count | None = None, energy: Energy | None = None, scale: Number = 1
) -> Vector:
    """Add to a base the nearest low-rank matrix to each tensor's difference from it: what a LoRA extraction keeps.

    Formula:    base + scale * U_r S_r V_r' with U S V' = model - base, r the largest singular values
    Parameters: rank     how many singular values are kept, 1 or more
                energy   instead: the fewest that hold this share of the sum of their squares, above 0 to 1
                scale    of the difference (1)
    Scope:      each tensor, as the matrix [first axis, all others]. Tensors of fewer than two dimensions take the whole
                difference.
    Passes:     each tensor beyond one tile is read twice. Memory: about 70 bytes per element of the largest tensor.
                Time: about 6 s for a decomposition of 2048 x 2048, growing with the cube.
    Fails:      unless one of rank and energy is given.
    Reference:  Eckart and Young, The approximation of one matrix by another of lower rank, 1936; Hu et al., LoRA,
                arXiv 2106.09685.
    Differs:    mergekit's extraction writes the factors as an adapter and stops at singular values of an absolute
                size (`sv_epsilon`); this writes the model.
    Recipe:     `merged: low_rank(base, chat, rank=16)`
    """
    return base + scale * f.truncated_svd(model - base, rank=rank, energy=energy)
