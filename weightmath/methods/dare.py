"""DARE: drop random elements of each task vector and rescale the rest."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, Number, PerModel, Seed, per_model
from weightmath.functions import method
from weightmath.methods._thinning import KeptShare, Rescale, thin


@method
def dare(
    base: Model,
    models: Sequence[Model],
    *,
    weights: PerModel[Number] = 1,
    densities: PerModel[KeptShare] = 0.5,
    scale: Number = 1,
    rescale: Rescale = "density",
    seed: Seed = 0,
) -> Vector:
    """Drop elements of each task vector at random, divide the kept ones by the density, and add them up.

    Formula:    base + scale * sum(wi (mi - base) * bernoulli(densities_i) / densities_i)
    Parameters: weights   per model (1)
                densities per model, the probability to keep an element, above 0 to 1 (0.5); the paper's p is 1 -
                          density
                scale     of the sum (1)
                rescale   "density" divides by it (default, as in the paper), "l1" gives each tensor of a task vector
                          the sum of magnitudes that it had, "none" leaves the kept elements
                seed      of the masks (0); each model has its own, and masks of one seed nest as the density grows
    Scope:      element by element; "l1" per tensor.
    Passes:     1; with "l1" larger tensors are read again from the page cache.
    Fails:      where base or a model is no model.
    Reference:  Yu et al., Language models are super Mario, arXiv 2311.03099.
    Differs:    mergekit's dare_linear rescales by "l1", with density 1 by default and one stream of random numbers for
                all tensors; peft, fusion_bench and the authors divide by the density.
    Recipe:     `merged: dare(base, [chat, code], densities=0.1, seed=1)`
    """
    settings = enumerate(per_model(models, weights, densities))
    kept = [w * thin(m - base, d, rescale=rescale, seed=seed, model=i) for i, (m, w, d) in settings]
    return base + scale * f.sum(kept)
