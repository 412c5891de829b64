"""Model Breadcrumbs with the election of TIES."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Density, Model, Number, PerModel, Scope, per_model
from weightmath.functions import method
from weightmath.methods._crumbs import crumbs
from weightmath.methods._election import Normalize, agreed


@method
def breadcrumbs_ties(
    base: Model,
    models: Sequence[Model],
    *,
    weights: PerModel[Number] = 1,
    densities: PerModel[Density] = 0.1,
    gammas: PerModel[Density] = 0.01,
    scale: Number = 1,
    scope: Scope = "tensor",
    normalize: Normalize = "count",
) -> Vector:
    """Drop the largest and the small elements of each task vector, elect a sign per element, average those who agree.

    Formula:    di = wi times the crumbs of mi - base, as in `breadcrumbs`;  s = sign(d1 + .. + dn);
                base + scale * sum(di where sign(di) = s) / max(number of such di, 1)
    Parameters: weights   per model (1)
                densities per model, share of elements kept, 0 to 1 (0.1)
                gammas    per model, share of outliers dropped, 0 to 1 (0.01)
                scale     of the merged task vector (1)
                normalize "count" (default), "weights" or "none", as in `ties`
    Scope:      what the shares are counted in: tensor (default), row, layer, global.
    Passes:     global and layer: 3 reads, at most 7. tensor and row: 1, re-reading larger tensors from the page cache.
    Fails:      where base or a model is no model.
    Reference:  Davari and Belilovsky, Model Breadcrumbs, arXiv 2312.06795, before the election of arXiv 2306.01708.
    Differs:    mergekit does not divide unless told to ("none"); see also `breadcrumbs`.
    Recipe:     `merged: breadcrumbs_ties(base, [chat, code], densities=0.2, gammas=0.01)`
    """
    settings = per_model(models, weights, densities, gammas)
    deltas = [w * crumbs(m - base, d, g, scope) for m, w, d, g in settings]
    return base + scale * agreed(deltas, weights, normalize)
