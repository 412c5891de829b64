"""The unified task vector of EMR-Merging."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.methods._election import elect


def unified(deltas: Sequence[Vector]) -> Vector:
    """Of each element the elected sign and the largest magnitude that has it; 0 where the deltas add up to 0."""
    largest = f.max([f.where(voter, f.abs(delta), 0) for voter, delta in zip(elect(deltas), deltas, strict=True)])
    return f.sign(f.sum(deltas)) * largest
