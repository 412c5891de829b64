"""Weighted average: the mean of models with a weight for each."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, Number, PerModel
from weightmath.functions import method


@method
def weighted_average(models: Sequence[Model], *, weights: PerModel[Number] = 1) -> Vector:
    """Average models with a weight for each.

    Formula:    (w1 m1 + .. + wn mn) / (w1 + .. + wn)
    Parameters: weights   per model, a number, a table of patterns or a statistic (1); they need not add up to 1
    Scope:      element by element.
    Passes:     1.
    Fails:      when plain weights add up to 0.
    Reference:  Wortsman et al., Model soups, arXiv 2203.05482.
    Differs:    mergekit's `linear` with normalize: false does not divide; write the sum in that case.
    Recipe:     `merged: weighted_average([base, chat, code], weights=[2, 1, 1])`
    """
    return f.weighted_mean(models, weights)
