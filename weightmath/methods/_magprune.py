"""MagPrune, the dropping step of DELLA."""

from __future__ import annotations

from itertools import product
from typing import Any

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import known_numbers
from weightmath.errors import RecipeError
from weightmath.methods._thinning import thin


def magprune(delta: Vector, density: Any, epsilon: Any, scope: str, *, rescale: str, seed: int, model: int) -> Vector:
    """A delta thinned with probabilities that rise with the rank of magnitudes, from density - epsilon by 2 epsilon.

    RecipeError when they would leave 0..1, which of a plain number beside a number or a table is known.
    """
    densities, epsilons = known_numbers(density), known_numbers(epsilon)
    if len(densities) == 1 or len(epsilons) == 1:
        for share, spread in product(densities, epsilons):
            _check(share, spread)
    chance = (density - epsilon) + 2 * epsilon * f.rank(delta, scope=scope)
    return thin(delta, chance, rescale=rescale, seed=seed, model=model)


def _check(density: float, epsilon: float) -> None:
    # The sum of two decimals that make 1 is 1; 1 - 0.33 is less than 0.67.
    if not epsilon < density or density + epsilon > 1:
        raise RecipeError(
            f"the density {density:g} with epsilon {epsilon:g} gives probabilities outside 0..1",
            hint=f"epsilon must be below the density and at most {1 - density:g}",
        )
