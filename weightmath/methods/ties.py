"""TIES: trim, elect sign, merge."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Density, Model, Number, PerModel, Scope, per_model
from weightmath.functions import method
from weightmath.methods._election import Normalize, agreed


@method
def ties(
    base: Model,
    models: Sequence[Model],
    *,
    weights: PerModel[Number] = 1,
    densities: PerModel[Density] = 0.2,
    scale: Number = 1,
    scope: Scope = "global",
    normalize: Normalize = "count",
) -> Vector:
    """Trim each task vector to its largest elements, elect a sign per element, average those who agree.

    Formula:    di = wi keep_largest(mi - base, densities_i);  s = sign(d1 + .. + dn);
                base + scale * sum(di where sign(di) = s) / max(number of such di, 1)
    Parameters: weights   per model (1)
                densities per model, share of elements kept, 0 to 1 (0.2, the paper's k = 20%)
                scale     the paper's lambda (1; its grid was 0.8 to 2.5)
                normalize what the sum is divided by: "count" (default, the paper's mean), "weights" of those who agree,
                          or "none"
    Scope:      what the trim counts: global (default, the paper's), layer, tensor, row.
    Passes:     global and layer: 2 reads, at most 4. tensor and row: 1, re-reading larger tensors from the page cache.
    Fails:      where base or a model is no model.
    Reference:  Yadav et al., TIES-Merging, arXiv 2306.01708.
    Differs:    mergekit, peft and sd-mecha trim per tensor. mergekit divides by the weights (normalize: true is
                "weights", false is "none"), peft elects on unweighted deltas, fusion_bench sums ("none"). The authors'
                code keeps floor(k n) + 1 elements and all ties, and gives an exact tie of signs the majority's sign
                where we drop both; mergekit and peft count such a tie as positive.
    Recipe:     `merged: ties(base, [chat, code], densities=0.2)`
    """
    deltas = [w * f.keep_largest(m - base, d, scope=scope) for m, w, d in per_model(models, weights, densities)]
    return base + scale * agreed(deltas, weights, normalize)
