"""Karcher mean: the mean of models on the sphere."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, NonNegative, PerModel, Scope, per_model
from weightmath.errors import RecipeError
from weightmath.functions import method


@method
def karcher(models: Sequence[Model], *, weights: PerModel[NonNegative] = 1, scope: Scope = "tensor") -> Vector:
    """The point of the sphere with the least weighted sum of squared angles to the models, at their mean length.

    Formula:    u minimises sum(wi angle(u, mi)^2); u * sum(wi norm(mi)) / sum(wi)
    Parameters: weights   per model, 0 or more (1)
    Scope:      what angles and lengths are taken of: tensor (default), row, layer, global.
    Passes:     row: 1. tensor: each tensor beyond one tile is read twice. layer, global: 2. The iteration runs on inner
                products alone, at most 100 steps, to 1e-13 of a coefficient.
    Fails:      when all weights are 0. Zero vectors take no part; where the directions cancel and there is no mean
                direction, the weighted average is taken.
    Reference:  Grove and Karcher, How to conjugate C1-close group actions, 1973; Buss and Fillmore, Spherical averages
                and applications to spherical splines and interpolation, 2001.
    Differs:    mergekit weighs models equally and stops at 1e-5 or ten steps. For two models of one length this is
                slerp; where the lengths differ, slerp bends towards the longer one and this does not. mergekit's
                `multislerp` is the normalised weighted mean, the place where this iteration starts.
    Recipe:     `merged: karcher([base, chat, code], weights=[1, 2, 2])`
    """
    numbers = [weight for _, weight in per_model(models, weights)]
    if all(isinstance(number, float) and number == 0 for number in numbers):
        raise RecipeError("the weights add up to 0", where="karcher()")
    share = f.coefficients("karcher", f.gram(models, scope=scope), *numbers)
    return f.model(f.sum([share[i] * model for i, model in enumerate(models)]))
