"""EMR-Merging: the unified task vector."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model
from weightmath.functions import method
from weightmath.methods._unified import unified


@method
def emr(base: Model, models: Sequence[Model]) -> Vector:
    """Elect a sign per element and take the largest magnitude that has it: one vector from which tasks are restored.

    Formula:    base + u;  u = s max(|ti| where sign(ti) = s), ti = mi - base, s = sign(t1 + .. + tn)
    Scope:      element by element.
    Passes:     1.
    Fails:      where base or a model is no model.
    Reference:  Huang et al., EMR-Merging: Tuning-free high-performance model merging, arXiv 2405.17461.
    Differs:    the authors' code gives a sum of 0 the sign -1. The method is meant to be used with masks and rescalers
                per task: see `emr_task`.
    Recipe:     `merged: emr(base, [chat, code])`
    """
    return base + unified([model - base for model in models])
