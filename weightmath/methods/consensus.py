"""Consensus merging: task arithmetic without what only one task, or none, needs."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Count, Model, NonNegative, Number, PerModel, per_model
from weightmath.functions import method


@method
def consensus(
    base: Model,
    models: Sequence[Model],
    *,
    thresholds: PerModel[NonNegative] = 0.4,
    least: Count = 2,
    scale: Number = 1,
) -> Vector:
    """Add up task vectors, and keep the elements that at least two tasks need.

    Formula:    t = sum(ti), ti = mi - base;  TALL masks Mi = |ti| > thresholds_i |t - ti|;
                base + scale * t where M1 + .. + Mn >= least
    Parameters: thresholds per model, the paper's lambda, 0 or more (0.4; the paper picks 0.2 to 0.6 on validation data)
                least     how many tasks must need an element (2); 1 keeps what any needs, more than n keeps nothing
                scale     of the merged task vector (1; the paper tunes it)
    Scope:      element by element.
    Passes:     1.
    Fails:      where base or a model is no model.
    Reference:  Wang et al., Localizing task information for improved model merging and compression, arXiv 2405.07813.
    Differs:    fusion_bench compares task vectors where the paper compares weights. A model of one task is restored by
                `base + where(abs(ti) > 0.4 * abs(t - ti), t, 0)`.
    Recipe:     `merged: consensus(base, [chat, code], thresholds=0.4, least=2, scale=0.5)`
    """
    deltas = [model - base for model in models]
    total = f.sum(deltas)
    settings = per_model(deltas, thresholds)
    needs = [f.abs(delta) > threshold * f.abs(total - delta) for delta, threshold in settings]
    return base + scale * f.where(f.sum(needs) >= least, total, 0)
