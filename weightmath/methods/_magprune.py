"""MagPrune, the dropping step of DELLA."""

from __future__ import annotations

from typing import Any

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.errors import RecipeError
from weightmath.methods._thinning import thin


def magprune(delta: Vector, density: Any, epsilon: Any, scope: str, *, rescale: str, seed: int, model: int) -> Vector:
    """A delta thinned with probabilities that rise with the rank of magnitudes, from density - epsilon by 2 epsilon.

    RecipeError when plain numbers would leave 0..1.
    """
    plain = isinstance(density, float) and isinstance(epsilon, float)
    if plain and not epsilon < density <= 1 - epsilon:
        raise RecipeError(
            f"the density {density:g} with epsilon {epsilon:g} gives probabilities outside 0..1",
            hint=f"epsilon must be below the density and at most {1 - density:g}",
        )
    chance = (density - epsilon) + 2 * epsilon * f.rank(delta, scope=scope)
    return thin(delta, chance, rescale=rescale, seed=seed, model=model)
