"""Perpendicular: add only what is new in another task vector."""

from __future__ import annotations

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, Number, Scope
from weightmath.functions import method


@method
def perpendicular(a: Model, b: Model, base: Model, *, alpha: Number = 1, scope: Scope = "tensor") -> Vector:
    """Add to a model the part of another's task vector that is perpendicular to its own.

    Formula:    a + alpha (tb - (ta . tb) / (ta . ta) ta), with ta = a - base and tb = b - base
    Parameters: alpha     of the perpendicular part (1)
    Scope:      what the inner products are taken of: tensor (default), row, layer, global. Where ta is 0, all of tb
                counts.
    Passes:     global and layer: 2. tensor and row: 1, re-reading larger tensors from the page cache.
    Fails:      where one is no model.
    Reference:  Gram-Schmidt; `add_perpendicular` of sd-mecha.
    Differs:    sd-mecha works per tensor and adds nothing where ta is 0.
    Recipe:     `merged: perpendicular(chat, code, base)`
    """
    own, other = a - base, b - base
    square = f.dot(own, own, scope=scope)
    share = f.dot(own, other, scope=scope) / f.where(square == 0, 1, square)
    return a + alpha * (other - share * own)
