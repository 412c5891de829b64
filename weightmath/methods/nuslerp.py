"""NuSLERP: slerp by weights, of models or of their task vectors."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, Number, PerModel, Scope, per_model
from weightmath.errors import RecipeError
from weightmath.functions import method

# Closer to parallel than this, the line and the arc are the same in float32; closer to opposed, rounding would decide
# the direction.
STRAIGHT = 1 - 1e-12


@method
def nuslerp(
    models: Sequence[Model], base: Model | None = None, *, weights: PerModel[Number] = 1, scope: Scope = "tensor"
) -> Vector:
    """Spherical interpolation of two models by their weights, or of their task vectors where a base is given.

    Formula:    sin((1-t) w) / sin(w) a + sin(t w) / sin(w) b with t = weight_b / (weight_a + weight_b), w the angle
                between a and b; with a base, base + the same of a - base and b - base
    Parameters: base      interpolate the task vectors from here; without it, the models themselves
                weights   per model (1); 1/2 is taken for t where they cancel
    Scope:      what the angle is taken of: tensor (default), row, layer, global.
    Passes:     row: 1. tensor: each tensor beyond one tile is read twice. layer, global: 2.
    Fails:      unless there are exactly two models. Vectors that are parallel or opposed (within 1e-12 of a cosine of
                1 or -1), or zero, are interpolated along the line.
    Reference:  mergekit's merge method of this name.
    Differs:    scope="row" is what mergekit computes for `nuslerp_flatten: false, nuslerp_row_wise: false`, against
                its documentation; its `nuslerp_row_wise: true` goes by column and has no counterpart here.
    Recipe:     `merged: nuslerp([chat, code], base, weights=[1, 2])`
    """
    if len(models) != 2:
        raise RecipeError(f"takes two models, not {len(models)}", where="nuslerp()", hint="karcher takes any number")
    a, b = models if base is None else [model - base for model in models]
    numbers = [weight for _, weight in per_model(models, weights)]
    share = f.coefficients("nuslerp", f.gram([a, b], scope=scope), *numbers, straight=STRAIGHT)
    mixed = share[0] * a + share[1] * b
    return f.model(mixed) if base is None else base + mixed
