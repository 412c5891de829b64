"""Geometric median: the average that a few bad models cannot move far."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, NonNegative, PerModel, Scope, per_model
from weightmath.errors import RecipeError
from weightmath.functions import method


@method
def geometric_median(models: Sequence[Model], *, weights: PerModel[NonNegative] = 1, scope: Scope = "global") -> Vector:
    """The point with the least weighted sum of distances to the models.

    Formula:    x minimises sum(wi norm(mi - x))
    Parameters: weights   per model, 0 or more (1)
    Scope:      what distances are taken of: global (default, the paper's), layer, tensor, row.
    Passes:     global, layer: 2. tensor: each tensor beyond one tile is read twice. row: 1. The iteration runs on inner
                products of the differences from the first model, at most 100 steps, to 1e-13 of a coefficient.
    Fails:      when all weights are 0. Two models of one weight have no single median: their average is taken.
    Reference:  Pillutla, Kakade and Harchaoui, Robust aggregation for federated learning, arXiv 1912.13445; Weiszfeld,
                Sur le point pour lequel la somme des distances de n points donnés est minimum, 1937.
    Differs:    a median that is one of the models is that model, exactly, where Weiszfeld's iteration alone never
                arrives. sd-mecha limits distances from below by 1e-6, whatever the scale of the weights.
    Recipe:     `merged: geometric_median([base, chat, code])`
    """
    numbers = [weight for _, weight in per_model(models, weights)]
    if all(isinstance(number, float) and number == 0 for number in numbers):
        raise RecipeError("the weights add up to 0", where="geometric_median()")
    first, *others = models
    if not others:
        return first
    steps = [model - first for model in others]
    share = f.coefficients("geometric_median", f.gram(steps, scope=scope), *numbers)
    return first + f.sum([share[i] * step for i, step in enumerate(steps)])
