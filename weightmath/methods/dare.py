"""DARE: drop random elements of each task vector and rescale the rest."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath import functions as f
from weightmath.functions import method
from weightmath.graph import Vector
from weightmath.signature import Flag, Model, Number, PerModel, Positive, Seed, Share, per_model

KeptShare = Share


@method
def dare(
    base: Model,
    models: Sequence[Model],
    *,
    weights: PerModel[Number] = 1,
    densities: PerModel[Positive] = 0.5,
    scale: Number = 1,
    rescale: Flag = True,
    seed: Seed = 0,
) -> Vector:
    """Drop elements of each task vector at random, divide the kept ones by the density, and add them up.

    Formula:    base + scale * sum(wi (mi - base) * bernoulli(densities_i) / densities_i)
    Parameters: weights     per model (1)
                densities   per model, the probability to keep an element, above 0 to 1 (0.5); the paper's p is 1 - density
                scale       of the sum (1)
                rescale     whether to divide by the density (true, as in the paper)
                seed        of the masks (0); each model has its own, and masks of one seed nest as the density grows
    Scope:      element by element.
    Passes:     1.
    Reference:  Yu et al., Language models are super Mario, arXiv 2311.03099.
    Differs:    mergekit rescales to the norm that the delta had instead of by 1/density, with density 1 by default;
                peft, fusion_bench and the authors divide by the density.
    Recipe:     `merged: dare(base, [chat, code], densities=0.1, seed=1)`
    """
    kept = []
    for i, (model, weight, density) in enumerate(per_model(models, weights, densities)):
        dropped = f.bernoulli(density, seed=seed, label=f"model {i}") * (model - base)
        kept.append(weight * (dropped / density if rescale else dropped))
    return base + scale * f.sum(kept)
