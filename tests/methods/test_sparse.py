"""Methods that thin task vectors and let them vote, against the papers' formulas on flat vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tests.methods.world import METHODS, SCOPES, SHAPES, Arrays, World, for_worlds, per_cell, top, total, words
from weightmath.algebra.names import Table
from weightmath.errors import RecipeError

ties, dare, dare_ties = METHODS["ties"], METHODS["dare"], METHODS["dare_ties"]
della, della_ties = METHODS["della"], METHODS["della_ties"]
breadcrumbs, breadcrumbs_ties = METHODS["breadcrumbs"], METHODS["breadcrumbs_ties"]

WEIGHTS = (1.0, 0.5, -0.25)
DENSITIES = (0.2, 0.37, 1.0)


def merged(deltas: Sequence[np.ndarray], weights: Sequence[float] = (), normalize: str = "count") -> np.ndarray:
    """The last two steps of TIES: elect a sign, and average those who have it."""
    stacked = np.stack(deltas)
    agree = np.sign(stacked) == np.sign(total(deltas))
    agree &= stacked != 0
    chosen = np.where(agree, stacked, 0).sum(axis=0)
    if normalize == "none":
        return chosen
    shares = np.ones(len(deltas)) if normalize == "count" else np.abs(weights)
    mass = np.where(agree, shares.reshape(-1, *[1] * deltas[0].ndim), 0).sum(axis=0)
    return np.divide(chosen, mass, out=np.zeros_like(chosen), where=mass != 0)


@for_worlds(models=3)
def test_ties(world: World):
    base, *models = world.vectors

    def formula(base: np.ndarray, *models: np.ndarray) -> np.ndarray:
        trimmed = [np.where(top(m - base, d), m - base, 0) for m, d in zip(models, DENSITIES, strict=True)]
        return base + 0.8 * merged([w * delta for w, delta in zip(WEIGHTS, trimmed, strict=True)])

    for scope in SCOPES:
        value = ties(base, models, weights=list(WEIGHTS), densities=list(DENSITIES), scale=0.8, scope=scope)
        world.check(value, world.per_cell(scope, formula))


@for_worlds(models=3, examples=8)
@pytest.mark.parametrize("normalize", ["count", "weights", "none"])
def test_ties_normalized(world: World, normalize: str):
    base, *models = world.vectors

    def formula(base: np.ndarray, *models: np.ndarray) -> np.ndarray:
        return base + merged([w * (m - base) for w, m in zip(WEIGHTS, models, strict=True)], WEIGHTS, normalize)

    value = ties(base, models, weights=list(WEIGHTS), densities=1, normalize=normalize)
    world.check(value, world.per_cell("global", formula))


@for_worlds(examples=5)
def test_ties_by_patterns(world: World):
    base, *models = world.vectors
    weights, densities = Table((("blocks.*", 2), ("*", 1))), Table((("blocks.*", 0.5), ("*", 0.1)))
    expected = {}
    for name in SHAPES:
        inside = name.startswith("blocks.")
        flat = [arrays[name].reshape(-1) for arrays in world.arrays]
        deltas = [model - flat[0] for model in flat[1:]]
        trimmed = [(2 if inside else 1) * np.where(top(d, 0.5 if inside else 0.1), d, 0) for d in deltas]
        expected[name] = (flat[0] + merged(trimmed)).reshape(SHAPES[name])
    world.check(ties(base, models, weights=weights, densities=densities, scope="tensor"), expected)


def thinned(deltas: Sequence[Arrays], chances: Sequence[Arrays], seed: int, rescale: str) -> list[Arrays]:
    """Deltas whose elements are kept where the model's random number is below their chance."""
    kept = []
    for i, (delta, chance) in enumerate(zip(deltas, chances, strict=True)):
        drawn = words(seed, f"model {i}")
        masked = {name: np.where(drawn[name] < chance[name], delta[name], 0) for name in SHAPES}
        kept.append({name: _rescaled(x, delta[name], chance[name], rescale) for name, x in masked.items()})
    return kept


def _rescaled(kept: np.ndarray, delta: np.ndarray, chance: np.ndarray, rescale: str) -> np.ndarray:
    if rescale == "density":
        return kept / chance
    if rescale == "none" or not np.abs(kept).sum():
        return kept
    return kept * (np.abs(delta).sum() / np.abs(kept).sum())


def deltas_of(world: World) -> list[Arrays]:
    base, *models = world.arrays
    return [{name: model[name] - base[name] for name in SHAPES} for model in models]


def constant(value: float) -> Arrays:
    return {name: np.full(shape, value) for name, shape in SHAPES.items()}


def combined(world: World, kept: Sequence[Arrays], combine: Callable[[Sequence[np.ndarray]], np.ndarray]) -> Arrays:
    """The base and half of what becomes of the kept elements, with weights 1 and 0.5."""
    weighted = [{name: w * x[name] for name in SHAPES} for w, x in zip((1, 0.5), kept, strict=True)]
    return {name: world.arrays[0][name] + 0.5 * combine([x[name] for x in weighted]) for name in SHAPES}


@for_worlds(examples=8)
@pytest.mark.parametrize("rescale", ["density", "l1", "none"])
def test_dare_and_dare_ties(world: World, rescale: str):
    base, *models = world.vectors
    kept = thinned(deltas_of(world), [constant(0.3), constant(0.9)], 7, rescale)
    options = {"weights": [1, 0.5], "densities": [0.3, 0.9], "scale": 0.5, "rescale": rescale, "seed": 7}
    world.check(dare(base, models, **options), combined(world, kept, total))
    world.check(dare_ties(base, models, **options), combined(world, kept, merged))


@for_worlds(examples=8)
@pytest.mark.parametrize("rescale", ["density", "l1", "none"])
@pytest.mark.parametrize("scope", ["row", "tensor"])
def test_della_and_della_ties(world: World, rescale: str, scope: str):
    base, *models = world.vectors
    deltas = deltas_of(world)
    chances = [_chances(delta, scope, d, e) for delta, d, e in zip(deltas, (0.3, 0.6), (0.1, 0.4), strict=True)]
    kept = thinned(deltas, chances, 7, rescale)
    options = {"weights": [1, 0.5], "densities": [0.3, 0.6], "epsilons": [0.1, 0.4], "scale": 0.5, "seed": 7}
    options |= {"rescale": rescale, "scope": scope}
    world.check(della(base, models, **options), combined(world, kept, total))
    world.check(della_ties(base, models, **options), combined(world, kept, merged))


def _chances(delta: Arrays, scope: str, density: float, epsilon: float) -> Arrays:
    def formula(flat: np.ndarray) -> np.ndarray:
        if flat.size == 1:
            return np.full(1, density)
        ranks = np.empty(flat.size)
        ranks[np.argsort(-np.abs(flat), kind="stable")] = np.arange(flat.size)[::-1]
        return density - epsilon + 2 * epsilon * (ranks / (flat.size - 1))

    return per_cell(scope, formula, delta)


def crumbs(delta: np.ndarray, density: float, gamma: float) -> np.ndarray:
    """Without the outliers, the largest of the rest."""
    rest = np.where(top(delta, gamma, least=0), 0, delta)
    return np.where(top(rest, density), rest, 0)


@for_worlds()
def test_breadcrumbs(world: World):
    base, *models = world.vectors
    densities, gammas = (0.2, 0.5), (0.01, 0.1)

    def formula(base: np.ndarray, *models: np.ndarray) -> np.ndarray:
        kept = [crumbs(m - base, d, g) for m, d, g in zip(models, densities, gammas, strict=True)]
        return base + 0.5 * (kept[0] + 2 * kept[1])

    def elected(base: np.ndarray, *models: np.ndarray) -> np.ndarray:
        kept = [crumbs(m - base, d, g) for m, d, g in zip(models, densities, gammas, strict=True)]
        return base + 0.5 * merged([kept[0], 2 * kept[1]])

    for scope in SCOPES:
        options = {"weights": [1, 2], "densities": list(densities), "gammas": list(gammas), "scale": 0.5}
        world.check(breadcrumbs(base, models, **options, scope=scope), world.per_cell(scope, formula))
        world.check(breadcrumbs_ties(base, models, **options, scope=scope), world.per_cell(scope, elected))


@for_worlds(examples=1)
def test_refusals(world: World):
    base, *models = world.vectors
    with pytest.raises(RecipeError, match=r"`densities` must be in \(0, 1\]"):
        dare(base, models, densities=0)
    with pytest.raises(RecipeError, match=r"outside 0\.\.1") as caught:
        della(base, models, densities=0.9, epsilons=0.2)
    assert "at most 0.1" in str(caught.value)
    table = Table((("*.w", 0.5), ("*", 0.98)))
    with pytest.raises(RecipeError, match=r"the density 0\.98 with epsilon 0\.05 .* outside 0\.\.1"):
        della(base, models, densities=table)
    della(base, models, densities=0.67, epsilons=0.33)  # in binary 1 - 0.33 is less than 0.67
    with pytest.raises(RecipeError, match="cannot be `wieghts`") as caught:
        ties(base, models, normalize="wieghts")
    assert "`weights`" in str(caught.value)
    with pytest.raises(RecipeError, match="3 values for 2 models"):
        ties(base, models, densities=[0.1, 0.2, 0.3])
