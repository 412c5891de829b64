"""DELLA: drop elements of each task vector at random, small ones more often."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, NonNegative, Number, PerModel, Seed, per_model
from weightmath.functions import method
from weightmath.functions.selection import RankScope
from weightmath.methods._magprune import magprune
from weightmath.methods._thinning import KeptShare, Rescale


@method
def della(
    base: Model,
    models: Sequence[Model],
    *,
    weights: PerModel[Number] = 1,
    densities: PerModel[KeptShare] = 0.5,
    epsilons: PerModel[NonNegative] = 0.05,
    scale: Number = 1,
    scope: RankScope = "row",
    rescale: Rescale = "density",
    seed: Seed = 0,
) -> Vector:
    """Drop elements of each task vector at random, the small ones more often, and add up the rescaled rest.

    Formula:    base + scale * sum(wi (mi - base) * bernoulli(pi) / pi);
                pi = densities_i - epsilons_i + 2 epsilons_i rank(mi - base), ranks from 0 (smallest) to 1 in each cell
    Parameters: weights   per model (1)
                densities per model, the mean probability to keep an element, above 0 to 1 (0.5)
                epsilons  per model, half the spread of the probability (0.05, the authors' code); density - epsilon
                          must be above 0 and density + epsilon at most 1
                scale     the paper's lambda (1)
                rescale   "density" divides each element by its own probability (default, as in the paper), "l1" gives
                          each tensor of a task vector the sum of magnitudes that it had, "none" leaves the kept
                          elements
                seed      of the masks (0)
    Scope:      what elements are ranked in: row (default, the paper's) or tensor. A cell of one element has rank 0.5.
    Passes:     1; with "l1", and to rank within a tensor, larger tensors are read again from the page cache. Ranking
                within a tensor, or in rows above 65,536 elements, holds the whole tensor in memory.
    Fails:      where base or a model is no model, or a probability would leave 0..1; of statistics, and of a table
                of densities beside one of epsilons, that is not known beforehand.
    Reference:  Deep et al., DELLA-Merging, arXiv 2406.11617.
    Differs:    mergekit calls this della_linear (its `della` is `della_ties`), rescales by "l1", ranks along the second
                axis, and fails on rows of one element; its epsilon is 0.15. sd-mecha ranks in the tensor.
    Recipe:     `merged: della(base, [chat, code], densities=0.3, epsilons=0.1, seed=1)`
    """
    settings = enumerate(per_model(models, weights, densities, epsilons))
    kept = [w * magprune(m - base, d, e, scope, rescale=rescale, seed=seed, model=i) for i, (m, w, d, e) in settings]
    return base + scale * f.sum(kept)
