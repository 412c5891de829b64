"""For who knows better than the affine weights: say what kind of vector this is."""

from __future__ import annotations

from weightmath.algebra.graph import Vector, node
from weightmath.algebra.signature import AnyVector
from weightmath.functions.declare import function
from weightmath.scope import Domain


@function
def model(x: AnyVector) -> Vector:
    """The same values, taken as a model (weight 1): a place in weight space that may be saved.

    Recipe: `shrunk: model(0.9 * base)`
    """
    return node("cast", x, domain=Domain.ELEMENT, kind="model")


@function
def delta(x: AnyVector) -> Vector:
    """The same values, taken as a delta (weight 0): a direction that may be added to a model.

    Recipe: `moved: base + delta(0.01 * chat)`
    """
    return node("cast", x, domain=Domain.ELEMENT, kind="delta")
