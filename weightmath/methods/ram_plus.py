"""RAM+: reinforced agent merging that strengthens what is unique."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, NonNegative, Scope
from weightmath.functions import method


@method
def ram_plus(
    base: Model,
    models: Sequence[Model],
    *,
    r: NonNegative = 0.1,
    alpha: NonNegative = 0.2,
    epsilon: NonNegative = 1e-5,
    scope: Scope = "global",
) -> Vector:
    """Average the elements that several models moved, and strengthen those that only one moved.

    Formula:    ti = mi - base, moved where |ti| > epsilon; shared where several have moved, else unique;
                base + mean of moved ti where shared, + li ti where unique;
                li = 1 + r clamp(shared elements of i / unique elements of i, 0, alpha)
    Parameters: r         0 or more, how much to strengthen (0.1)
                alpha     0 or more, the largest ratio that counts (0.2)
                epsilon   0 or more, the size from which an element counts as moved (1e-5)
    Scope:      what the ratio is counted in: global (default), layer, tensor, row. Without unique elements it is alpha,
                or 0 where nothing is shared either.
    Passes:     global and layer: 2. tensor and row: 1, re-reading larger tensors from the page cache.
    Fails:      where base or a model is no model.
    Reference:  Yuan et al., Behavior knowledge merge in reinforced agentic models, arXiv 2601.13572.
    Differs:    mergekit's ramplus_tl counts per tensor.
    Recipe:     `merged: ram_plus(base, [chat, code], r=0.1)`
    """
    deltas = [model - base for model in models]
    moved = [f.abs(delta) > epsilon for delta in deltas]
    movers = f.sum(moved)
    factors = [_factor(mask, movers, r, alpha, scope) for mask in moved]
    shared = f.sum([mask * delta for mask, delta in zip(moved, deltas, strict=True)]) / f.maximum(movers, 1)
    strong = f.sum([mask * delta * factor for mask, delta, factor in zip(moved, deltas, factors, strict=True)])
    return base + f.where(movers > 1, shared, strong)


def _factor(moved: Vector, movers: Vector, r: Vector | float, alpha: Vector | float, scope: str) -> Vector:
    shared = f.count(moved & (movers > 1), scope=scope)
    unique = f.count(moved & (movers == 1), scope=scope)
    return 1 + f.clamp(shared / f.maximum(unique, 1e-5), 0, alpha) * r
