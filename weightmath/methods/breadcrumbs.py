"""Model Breadcrumbs: without outliers and without the small."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Density, Model, Number, PerModel, Scope, per_model
from weightmath.functions import method
from weightmath.methods._crumbs import crumbs


@method
def breadcrumbs(
    base: Model,
    models: Sequence[Model],
    *,
    weights: PerModel[Number] = 1,
    densities: PerModel[Density] = 0.1,
    gammas: PerModel[Density] = 0.01,
    scale: Number = 1,
    scope: Scope = "tensor",
) -> Vector:
    """Drop the largest and the small elements of each task vector, and add up what is left in between.

    Formula:    base + scale * sum(wi di); di: of mi - base, without the floor(gammas_i n) largest, the
                floor(densities_i n) largest of the rest
    Parameters: weights   per model (1)
                densities per model, share of elements kept, 0 to 1 (0.1)
                gammas    per model, share of outliers dropped, 0 to 1 (0.01)
                scale     the paper's alpha (1)
    Scope:      what the shares are counted in: tensor (default, the paper's layer), row (the authors' code), layer,
                global.
    Passes:     global and layer: 3 reads, at most 7. tensor and row: 1, re-reading larger tensors from the page cache.
    Fails:      where base or a model is no model.
    Reference:  Davari and Belilovsky, Model Breadcrumbs, arXiv 2312.06795.
    Differs:    the authors' code counts per row along the last axis. mergekit, with density 1 by default, drops fewer
                outliers where it could not keep the density otherwise; here outliers always go, and density 1 keeps all
                else.
    Recipe:     `merged: breadcrumbs(base, [chat, code], densities=0.2, gammas=0.01)`
    """
    settings = per_model(models, weights, densities, gammas)
    return base + scale * f.sum([w * crumbs(m - base, d, g, scope) for m, w, d, g in settings])
