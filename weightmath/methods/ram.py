"""RAM: reinforced agent merging."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, NonNegative
from weightmath.functions import method


@method
def ram(base: Model, models: Sequence[Model], *, epsilon: NonNegative = 1e-5) -> Vector:
    """Average the elements that several models moved, and keep whole those that only one moved.

    Formula:    base + sum(ti where |ti| > epsilon) / max(number of such ti, 1), ti = mi - base
    Parameters: epsilon   0 or more, the size from which an element counts as moved (1e-5)
    Scope:      element by element.
    Passes:     1.
    Fails:      where base or a model is no model.
    Reference:  Yuan et al., Behavior knowledge merge in reinforced agentic models, arXiv 2601.13572.
    Differs:    nothing. epsilon is absolute: with deltas that are larger everywhere this is the mean.
    Recipe:     `merged: ram(base, [chat, code])`
    """
    deltas = [model - base for model in models]
    moved = [f.abs(delta) > epsilon for delta in deltas]
    total = f.sum([mask * delta for mask, delta in zip(moved, deltas, strict=True)])
    return base + total / f.maximum(f.sum(moved), 1)
