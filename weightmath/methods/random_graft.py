"""Random graft: take over elements at random."""

from __future__ import annotations

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, Seed, Share
from weightmath.functions import method


@method
def random_graft(base: Model, model: Model, *, density: Share = 0.1, seed: Seed = 0) -> Vector:
    """Take elements from a model at random, and all others from its base, bit for bit.

    Formula:    model where bernoulli(density), base elsewhere
    Parameters: density   the probability to take an element, 0 to 1 (0.1)
                seed      of the mask (0); masks of one seed nest as the density grows
    Scope:      element by element.
    Passes:     1.
    Fails:      where base or model is no model.
    Reference:  the control of grafting experiments (Panigrahi et al., arXiv 2302.06600).
    Differs:    `dare` divides what it keeps by the density; here elements are the model's own.
    Recipe:     `merged: random_graft(base, chat, density=0.05, seed=1)`
    """
    return f.where(f.bernoulli(density, seed=seed, label="model 0"), model, base)
