"""Cosine merge: keep the first model where the two point the same way."""

from __future__ import annotations

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, Number, Scope
from weightmath.functions import method


@method
def add_cosine(a: Model, b: Model, *, alpha: Number = 0.5, scope: Scope = "tensor") -> Vector:
    """Interpolate by likeness: what is alike stays a's, what differs becomes b's.

    Formula:    a + k (b - a);  k = 1 - clamp(cosine(a, b) - alpha, 0, 1)
    Parameters: alpha     the likeness from which a begins to be kept (0.5); at 1 the result is b
    Scope:      what the cosine is taken of: tensor (default), row, layer, global.
    Passes:     global and layer: 2. tensor and row: 1, re-reading larger tensors from the page cache.
    Fails:      where one is no model.
    Reference:  supermerger's calculation modes cosineA and cosineB; sd-mecha's add_cosine_a and add_cosine_b.
    Differs:    those take the cosine per column (over the first axis), B averages it with the whole tensor's, and
                supermerger first stretches all cosines of the model to 0..1.
    Recipe:     `merged: add_cosine(chat, code, alpha=0.2)`
    """
    likeness = f.clamp(f.cosine(a, b, scope=scope) - alpha, 0, 1)
    return f.lerp(a, b, 1 - likeness)
