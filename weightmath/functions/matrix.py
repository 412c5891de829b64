"""Functions of whole tensors, which are held in memory one at a time: what singular values say of them.

A tensor counts as the matrix [first axis, all others]; tensors of fewer than two dimensions have rules of their own.
Memory: about 70 bytes per element of the largest tensor, for each operand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

from weightmath.algebra.graph import Vector, node
from weightmath.algebra.signature import AnyVector, Count, Role
from weightmath.errors import RecipeError
from weightmath.functions.declare import function
from weightmath.scope import Domain

Energy: TypeAlias = Annotated[float, Role("plain number", 0, 1, low_open=True)]


def whole_tensor(name: str, operands: Sequence[Vector], **options: Any) -> Vector:
    """A function of `weightmath.kernels.matrix`, by its name, of vectors that are taken tensor by tensor."""
    return node("whole_tensor", *operands, domain=Domain.ELEMENT, function=name, **options)


@function
def truncated_svd(x: AnyVector, *, rank: Count | None = None, energy: Energy | None = None) -> Vector:
    """Each tensor replaced by the nearest matrix of lower rank: its largest singular values alone.

    `rank`: how many; `energy`, instead: the fewest that hold this share of the sum of squares, above 0 to 1. Tensors of
    fewer than two dimensions stay as they are, and so do those whose rank is lower.
    Passes: each tensor beyond one tile is read twice. Memory: about 70 bytes per element of the largest tensor.
    Recipe: `skill: truncated_svd(chat - base, rank=16)`
    """
    if (rank is None) == (energy is None):
        raise RecipeError("it takes a rank or an energy, one of the two", hint="rank=16, or energy=0.9")
    return whole_tensor("truncated_svd", [x], **({"energy": energy} if rank is None else {"rank": rank}))
