"""DARE with the election of TIES."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, Number, PerModel, Seed, per_model
from weightmath.functions import method
from weightmath.methods._election import Normalize, agreed
from weightmath.methods._thinning import KeptShare, Rescale, thin


@method
def dare_ties(
    base: Model,
    models: Sequence[Model],
    *,
    weights: PerModel[Number] = 1,
    densities: PerModel[KeptShare] = 0.5,
    scale: Number = 1,
    rescale: Rescale = "density",
    normalize: Normalize = "count",
    seed: Seed = 0,
) -> Vector:
    """Drop elements of each task vector at random, rescale, elect a sign per element, average those who agree.

    Formula:    di = wi (mi - base) * bernoulli(densities_i) / densities_i;  s = sign(d1 + .. + dn);
                base + scale * sum(di where sign(di) = s) / max(number of such di, 1)
    Parameters: weights   per model (1)
                densities per model, the probability to keep an element, above 0 to 1 (0.5)
                scale     of the merged task vector (1)
                rescale   "density" (default), "l1" or "none", as in `dare`
                normalize "count" (default), "weights" or "none", as in `ties`
                seed      of the masks (0), the same as those of `dare`
    Scope:      element by element; "l1" per tensor.
    Passes:     1; with "l1" larger tensors are read again from the page cache.
    Fails:      where base or a model is no model.
    Reference:  Yu et al., Language models are super Mario, arXiv 2311.03099, applied before the election of arXiv
                2306.01708.
    Differs:    mergekit rescales by "l1" and, unless told otherwise, does not divide ("none").
    Recipe:     `merged: dare_ties(base, [chat, code], densities=0.3, seed=1)`
    """
    settings = enumerate(per_model(models, weights, densities))
    deltas = [w * thin(m - base, d, rescale=rescale, seed=seed, model=i) for i, (m, w, d) in settings]
    return base + scale * agreed(deltas, weights, normalize)
