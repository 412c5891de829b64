"""Random vectors that their arguments name: element i of tensor t is a function of (seed, function, label, t, i).

The same arguments give the same noise in any recipe, subset, order or chunking; two tensors of one shape get different
noise. `label` tells apart draws of one seed; methods give each model its own. The integers come from Philox 4x64 and
are frozen by golden values; normals are made from them by operations that do not depend on the processor.

mergekit draws from one global stream, so that adding a tensor changes all later masks; sd-mecha reseeds per tensor, so
that tensors of one shape get the same mask.
"""

from __future__ import annotations

from weightmath.algebra.graph import Vector, node, vector
from weightmath.algebra.signature import Chance, Seed, Text
from weightmath.functions.declare import function
from weightmath.scope import Domain


@function
def gaussian(*, seed: Seed, label: Text = "") -> Vector:
    """Independent standard normal numbers.

    Recipe: `noisy: base + 0.01 * std(base, scope="tensor") * gaussian(seed=7)`
    """
    return node("random", domain=Domain.ELEMENT, draw="gaussian", seed=seed, label=label)


@function
def uniform(*, seed: Seed, label: Text = "") -> Vector:
    """Independent numbers, uniform in [0, 1).

    Recipe: `jitter: base + 0.001 * (uniform(seed=1) - 0.5)`
    """
    return node("random", domain=Domain.ELEMENT, draw="uniform", seed=seed, label=label)


@function
def rademacher(*, seed: Seed, label: Text = "") -> Vector:
    """Independent signs, -1 or 1 with equal probability.

    Recipe: `flipped: base + 0.001 * rademacher(seed=1)`
    """
    return node("random", domain=Domain.ELEMENT, draw="rademacher", seed=seed, label=label)


@function
def bernoulli(p: Chance, *, seed: Seed, label: Text = "") -> Vector:
    """A mask that is true with probability p, independently; masks of one seed and label nest as p grows.

    `p`: 0 to 1, a number, a table or a vector of probabilities.
    Recipe: `dropped: base + (chat - base) * bernoulli(0.1, seed=3) / 0.1`
    """
    return node("bernoulli", vector(p), domain=Domain.ELEMENT, seed=seed, label=label)
