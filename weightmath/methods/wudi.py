"""WUDI: a merged task vector that interferes least with each task's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Count, Model, Number, Role
from weightmath.functions import method

Rate: TypeAlias = Annotated[float, Role("plain number", 0, low_open=True)]


@method
def wudi(base: Model, models: Sequence[Model], *, steps: Count = 300, rate: Rate = 1e-5, scale: Number = 1) -> Vector:
    """From the sum of the task vectors, descend towards the one that interferes least with the tasks' own.

    Formula:    di = mi - base; x from d1 + .. + dn by Adam (0.9, 0.999, 1e-8) on
                sum(norm((x - di) di')^2 / norm(di)^2);  base + scale * x
    Parameters: steps   of Adam (300, as in the authors' function)
                rate    Adam's learning rate, above 0 (0.00001): no element moves further than about steps * rate, so
                        that both go with the scale of the weights
                scale   of the merged difference (1)
    Scope:      each tensor, as the matrix [first axis, all others]. Tensors of fewer than two dimensions take the mean
                of the differences.
    Passes:     each tensor beyond one tile is read twice. Memory: about 60 bytes per element of the largest tensor, 12
                for each model, and 24 for each square of its columns. Time: 2 rows columns^2 operations a step,
                minutes for a matrix of 4096 x 4096.
    Fails:      never.
    Reference:  Cheng et al., Whoever started the interference should end it: guiding data-free model merging via task
                vectors, arXiv 2503.08099.
    Differs:    computed in float64, where the authors' code takes the dtype of the weights; it takes matrices of two
                dimensions only and averages the rest. A task vector of zeros is left out, where it is NaN there.
    Recipe:     `merged: wudi(base, [chat, code], steps=100)`
    """
    deltas = [model - base for model in models]
    return base + scale * f.whole_tensor("wudi", deltas, steps=steps, rate=rate)
