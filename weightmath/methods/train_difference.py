"""Train difference: add a difference the more, the farther the models are apart."""

from __future__ import annotations

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, Number
from weightmath.functions import method


@method
def train_difference(a: Model, b: Model, base: Model, *, alpha: Number = 1) -> Vector:
    """Add what another model learned, weighted per element by how much of it the first model lacks.

    Formula:    a + 1.8 alpha s (b - base);  s = |b - a| / (|b - a| + |b - base|), 0 where both are 0
    Parameters: alpha     of the difference (1)
    Scope:      element by element.
    Passes:     1.
    Fails:      where one is no model.
    Reference:  supermerger's calculation mode trainDifference; 1.8 is its constant.
    Differs:    nothing: as supermerger, and as sd-mecha's train_difference_mask times the difference.
    Recipe:     `merged: train_difference(chat, code, base)`
    """
    learned, apart = b - base, f.abs(b - a)
    total = apart + f.abs(learned)
    return a + alpha * (1.8 * (apart / f.where(total == 0, 1, total) * learned))
