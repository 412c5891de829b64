"""Exponential moving average of a list of checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, Share
from weightmath.functions import method


@method
def ema_of(models: Sequence[Model], *, decay: Share) -> Vector:
    """Average checkpoints in their order, each step forgetting a part of what came before.

    Formula:    e1 = m1;  ei = decay e(i-1) + (1 - decay) mi, worked out as mi + decay (e(i-1) - mi); the last e
    Parameters: decay     0 to 1, the share of the past that a step keeps; 0 gives the last checkpoint, 1 the first.
                          There is no default: the 0.999 of training loops is per optimizer step, a list of
                          checkpoints wants 0.5 to 0.9
    Scope:      element by element.
    Passes:     1.
    Fails:      on an empty list, or where one is no model.
    Reference:  Polyak and Juditsky, Acceleration of stochastic approximation by averaging, 1992; the exponential form
                is torch.optim.swa_utils.get_ema_avg_fn.
    Differs:    nothing: started from the first checkpoint, as torch does. Tools that start from zero correct the bias.
    Recipe:     `merged: ema_of([base, chat, code], decay=0.8)`
    """
    return reduce(lambda average, model: f.lerp(model, average, decay), models)
