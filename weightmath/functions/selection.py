"""Exact selection of the largest or smallest elements of each cell, and their ranks.

Exactly floor(density n) elements of a cell of n are kept, the density taken as the decimal that was written (0.29 of
100 is 29), at least one when the density and n are above 0. Equal magnitudes are kept in flat order. Bounded memory at
every scope. Passes: none for cells within one tile; tensor and row re-read larger tensors, once or, beyond 2 million
elements, twice; layer, global and `re:` read the model for it: two reads, at most four.

torch.topk and kthvalue of peers keep all ties or an arbitrary subset, which for half-precision deltas is millions of
elements.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from weightmath.algebra.graph import Vector, node, vector
from weightmath.algebra.signature import AnyVector, Density, Role, Scope
from weightmath.functions.declare import function
from weightmath.scope import Domain
from weightmath.scope import Scope as ScopeRule

RankScope: TypeAlias = Annotated[str, Role("text", choices=("row", "tensor"))]


def _cut(x: Vector, density: Density, scope: str, order: str) -> Vector:
    rule = ScopeRule.parse(scope)
    return node("cut", x, vector(density), domain=rule.domain, scope=rule.name, order=order)


@function
def keep_largest(x: AnyVector, density: Density, *, scope: Scope = "global") -> Vector:
    """The floor(density n) elements, at least one, of largest magnitude of each cell, 0 for the others.

    `density`: 0 to 1, a number or a table per tensor; it may not differ within one cell.
    Recipe: `skill: keep_largest(chat - base, 0.2, scope="tensor")`
    """
    return node("keep", x, _cut(x, density, scope, "largest"), domain=Domain.ELEMENT)


@function
def keep_smallest(x: AnyVector, density: Density, *, scope: Scope = "global") -> Vector:
    """The floor(density n) elements, at least one, of smallest magnitude of each cell, 0 for the others.

    `density`: 0 to 1, a number or a table per tensor; it may not differ within one cell.
    Recipe: `calm: base + keep_smallest(chat - base, 0.99)`
    """
    return node("keep", x, _cut(x, density, scope, "smallest"), domain=Domain.ELEMENT)


@function
def largest_mask(x: AnyVector, density: Density, *, scope: Scope = "global") -> Vector:
    """The mask of the floor(density n) elements, at least one, of largest magnitude of each cell.

    Recipe: `graft: where(largest_mask(chat - base, 0.1), chat, base)`
    """
    return node("largest_mask", x, _cut(x, density, scope, "largest"), domain=Domain.ELEMENT)


@function
def rank(x: AnyVector, *, scope: RankScope = "row") -> Vector:
    """The rank of each element's magnitude in its row or tensor, from 0 (smallest) to 1 (largest); alone, 0.5.

    The number of elements before it over n - 1; of equal magnitudes the first in flat order is the largest.
    Passes: none for rows of up to 65,536 elements; else each tensor is read twice, and held in memory.
    Recipe: `faded: base + (chat - base) * rank(chat - base, scope="tensor")`
    """
    return node("rank", x, domain=Domain.ELEMENT, scope=scope)
