"""Similarity add difference: add where models differ, average where they are alike."""

from __future__ import annotations

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, Number, Share
from weightmath.functions import method


@method
def similarity_add_difference(a: Model, b: Model, base: Model, *, alpha: Number = 1, beta: Share = 1) -> Vector:
    """Add a difference where two models disagree, and average them where they agree.

    Formula:    (1 - s) (a + alpha (b - base)) + s ((1 - alpha/2) a + alpha/2 b);
                s = beta (1 + a b / max(|a|, |b|)^2) / 2, and beta where both are 0;
                worked out as a + alpha ((1 - s) (b - base) + s/2 (b - a))
    Parameters: alpha     of the addition and of the average (1)
                beta      0 to 1, how much likeness counts (1); 0 is add_difference
    Scope:      element by element.
    Passes:     1.
    Fails:      where one is no model.
    Reference:  sd-meh's merge method of that name.
    Differs:    nothing but rounding: dividing each factor by the maximum keeps small numbers from underflow.
    Recipe:     `merged: similarity_add_difference(chat, code, base, alpha=0.5)`
    """
    largest = f.maximum(f.abs(a), f.abs(b))
    divisor = f.where(largest == 0, 1, largest)
    alike = f.where(largest == 0, 1, (1 + a / divisor * (b / divisor)) / 2)
    likeness = beta * alike
    return a + alpha * ((1 - likeness) * (b - base) + likeness / 2 * (b - a))
