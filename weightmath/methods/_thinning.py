"""Dropping elements of a delta at random, as DARE and DELLA do."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Role

Rescale: TypeAlias = Annotated[str, Role("text", choices=("density", "l1", "none"))]
KeptShare: TypeAlias = Annotated[Vector | float, Role("number", 0, 1, low_open=True)]


def thin(delta: Vector, chance: Vector | float, *, rescale: str, seed: int, model: int) -> Vector:
    """A delta whose elements are each kept with their chance, made up for what was dropped.

    `rescale`: "density" divides by the chance, so that the expected value is the delta; "l1" gives each tensor the sum
    of magnitudes that it had; "none" leaves it.
    """
    kept = f.bernoulli(chance, seed=seed, label=f"model {model}") * delta
    if rescale == "density":
        return kept / chance
    if rescale == "none":
        return kept
    after = f.sum(f.abs(kept), scope="tensor")
    return kept * (f.sum(f.abs(delta), scope="tensor") / f.where(after == 0, 1, after))
