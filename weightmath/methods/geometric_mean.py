"""Geometric mean of models, element by element."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, NonNegative, PerModel, per_model
from weightmath.functions import method


@method
def geometric_mean(models: Sequence[Model], *, weights: PerModel[NonNegative] = 1) -> Vector:
    """Average the logarithms of magnitudes: an element that is small in one model stays small.

    Formula:    s exp((w1 log|m1| + .. + wn log|mn|) / (w1 + .. + wn)), s the sign that all models share;
                0 where signs differ or an element is 0
    Parameters: weights   per model, 0 or more (1); they need not add up to 1
    Scope:      element by element.
    Passes:     1.
    Fails:      when plain weights add up to 0.
    Reference:  folklore; `geometric_sum` of sd-mecha.
    Differs:    sd-mecha takes two models and the real part of a complex power, which is the same where signs agree and,
                at alpha 0.5, where they differ; at other alphas it is |.| cos(pi alpha) there.
    Recipe:     `merged: geometric_mean([chat, code])`
    """
    # A product of signs would not do: two negatives among three models look like agreement.
    lowest = f.min([f.sign(model) for model in models])
    highest = f.max([f.sign(model) for model in models])
    logarithms = [f.log(f.abs(model)) for model, _ in per_model(models, weights)]
    size = f.exp(f.weighted_mean(logarithms, weights))
    return f.model(f.where(lowest == highest, lowest * size, 0))
