"""DELLA with its election of signs: drop, elect, fuse."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, NonNegative, Number, PerModel, Seed, per_model
from weightmath.functions import method
from weightmath.functions.selection import RankScope
from weightmath.methods._election import Normalize, agreed
from weightmath.methods._magprune import magprune
from weightmath.methods._thinning import KeptShare, Rescale


@method
def della_ties(
    base: Model,
    models: Sequence[Model],
    *,
    weights: PerModel[Number] = 1,
    densities: PerModel[KeptShare] = 0.5,
    epsilons: PerModel[NonNegative] = 0.05,
    scale: Number = 1,
    scope: RankScope = "row",
    rescale: Rescale = "density",
    normalize: Normalize = "count",
    seed: Seed = 0,
) -> Vector:
    """Drop elements of each task vector at random, the small ones more often, elect a sign, average those who agree.

    Formula:    di = wi (mi - base) * bernoulli(pi) / pi, pi as in `della`;  s = sign(d1 + .. + dn);
                base + scale * sum(di where sign(di) = s) / max(number of such di, 1)
    Parameters: weights   per model (1)
                densities per model, the mean probability to keep an element, above 0 to 1 (0.5)
                epsilons  per model, half the spread of the probability (0.05), as in `della`
                scale     the paper's lambda (1)
                rescale   "density" (default), "l1" or "none", as in `della`
                normalize "count" (default, the paper's mean), "weights" or "none", as in `ties`
                seed      of the masks (0), the same as those of `della`
    Scope:      what elements are ranked in: row (default, the paper's) or tensor. A cell of one element has rank 0.5.
    Passes:     1; with "l1", and to rank within a tensor, larger tensors are read again from the page cache. Ranking
                within a tensor, or in rows above 65,536 elements, holds the whole tensor in memory.
    Fails:      where base or a model is no model, or a probability would leave 0..1; of statistics, and of a table
                of densities beside one of epsilons, that is not known beforehand.
    Reference:  Deep et al., DELLA-Merging, arXiv 2406.11617: the method with all its three steps.
    Differs:    mergekit calls this `della`, rescales by "l1" and divides by the weights ("weights"); see also `della`.
    Recipe:     `merged: della_ties(base, [chat, code], densities=0.3, epsilons=0.1, seed=1)`
    """
    settings = enumerate(per_model(models, weights, densities, epsilons))
    deltas = [w * magprune(m - base, d, e, scope, rescale=rescale, seed=seed, model=i) for i, (m, w, d, e) in settings]
    return base + scale * agreed(deltas, weights, normalize)
