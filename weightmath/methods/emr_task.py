"""EMR-Merging: a task restored from the unified task vector."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, Scope, Whole
from weightmath.errors import RecipeError
from weightmath.functions import method
from weightmath.methods._unified import unified


@method
def emr_task(base: Model, models: Sequence[Model], *, task: Whole, scope: Scope = "global") -> Vector:
    """Restore one task of `emr`: the unified vector where it agrees with the task's, rescaled to its size.

    Formula:    base + r (u where u ti > 0);  r = sum|ti| / sum|u where u ti > 0|, ti = mi - base, i = task
    Parameters: task      the model's place in the list, from 0; -1 is the last
    Scope:      of the rescaler: global (default, the paper's formula), layer, tensor, row.
    Passes:     global and layer: 2. tensor and row: 1, re-reading larger tensors from the page cache.
    Fails:      where `task` is no place in the list.
    Reference:  Huang et al., EMR-Merging: Tuning-free high-performance model merging, arXiv 2405.17461.
    Differs:    the authors' code adds up the means of tensors where the formula adds up elements, so that small tensors
                weigh more (0.82 against 0.88 in an example of two tensors).
    Recipe:     `merged: emr_task(base, [chat, code], task=0)`
    """
    if not -len(models) <= task < len(models):
        raise RecipeError(f"emr_task() has no task {task} among {len(models)} models", hint="the first is 0")
    deltas = [model - base for model in models]
    whole, own = unified(deltas), deltas[task]
    masked = f.where(whole * f.sign(own) > 0, whole, 0)
    size = f.sum(f.abs(masked), scope=scope)
    return base + f.sum(f.abs(own), scope=scope) / f.where(size == 0, 1, size) * masked
