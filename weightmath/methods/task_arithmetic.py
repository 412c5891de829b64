"""Task arithmetic: add task vectors to a base."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, Number, PerModel, per_model
from weightmath.functions import method


@method
def task_arithmetic(
    base: Model, models: Sequence[Model], *, weights: PerModel[Number] = 1, scale: Number = 1
) -> Vector:
    """Add the task vectors of models to their base; a negative weight forgets.

    Formula:    base + scale * sum(wi (mi - base))
    Parameters: weights   per model (1); negative to negate a task
                scale     the paper's lambda (1; the paper tunes it on validation data, 0.3 to 0.5 for several tasks)
    Scope:      element by element.
    Passes:     1.
    Fails:      where base or a model is no model.
    Reference:  Ilharco et al., Editing models with task arithmetic, arXiv 2212.04089.
    Differs:    mergekit's `normalize: true` divides by the sum of weights; the authors' code drops integer tensors.
                Analogies (c is to a as d is to b) are sums of differences: `c + (b - a)`.
    Recipe:     `merged: task_arithmetic(base, [chat, code], scale=0.5)`
    """
    return base + scale * f.sum([w * (m - base) for m, w in per_model(models, weights)])
