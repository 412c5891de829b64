"""The election of signs that TIES introduced and other methods share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Role, per_model

Normalize: TypeAlias = Annotated[str, Role("text", choices=("count", "weights", "none"))]


def elect(deltas: Sequence[Vector]) -> list[Vector]:
    """A mask per delta: where its sign is that of the sum of all. Nobody votes where the sum is 0."""
    elected = f.sign(f.sum(deltas))
    return [delta * elected > 0 for delta in deltas]


def agreed(deltas: Sequence[Vector], weights: Any, normalize: str) -> Vector:
    """What weighted deltas agree on: the sum of those with the elected sign, divided as `normalize` says."""
    voters = elect(deltas)
    total = f.sum([voter * delta for voter, delta in zip(voters, deltas, strict=True)])
    if normalize == "none":
        return total
    if normalize == "count":
        return total / f.maximum(f.sum(voters), 1)
    # Of magnitudes: a negative weight negates its model, and must not cancel another's weight.
    mass = f.sum([voter * f.abs(weight) for voter, weight in per_model(voters, weights)])
    return total / f.where(mass == 0, 1, mass)
