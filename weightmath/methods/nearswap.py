"""NearSwap: take over from another model what differs little."""

from __future__ import annotations

from weightmath import functions as f
from weightmath.algebra.graph import Vector, vector
from weightmath.algebra.signature import Model, NonNegative
from weightmath.functions import method


@method
def nearswap(a: Model, b: Model, *, t: NonNegative) -> Vector:
    """Move each element of `a` towards `b` by at most t: where they differ by less, it becomes b's.

    Formula:    a + clamp(b - a, -t, t), which is (1-w) a + w b with w = min(t / |b - a|, 1)
    Parameters: t     the largest step, 0 or more; as absolute as the weights are, 0.0001 to 0.01 for most models
    Scope:      element by element.
    Passes:     1.
    Fails:      never.
    Reference:  Alchemonaut, QuartetAnemoi 70B, 2024; mergekit's merge method of this name.
    Differs:    mergekit divides by |b - a|, taking less than 1e-6 as 1e-6.
    Recipe:     `merged: nearswap(base, chat, t=0.001)`
    """
    largest = vector(t)
    return a + f.clamp(b - a, -largest, largest)
