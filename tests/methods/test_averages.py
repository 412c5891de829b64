"""Averages, against numpy on whole arrays."""

from __future__ import annotations

import numpy as np
import pytest

from tests.engine.whole import memory_input
from tests.methods.world import METHODS, World, for_worlds
from weightmath.algebra.graph import constant
from weightmath.algebra.names import Table
from weightmath.errors import KindError, RecipeError

soup, weighted_average, ema_of, lawa = (METHODS[name] for name in ("soup", "weighted_average", "ema_of", "lawa"))
wise_ft, geometric_mean, fisher = (METHODS[name] for name in ("wise_ft", "geometric_mean", "fisher"))


@for_worlds()
def test_soup(world: World):
    world.check(soup(world.vectors), world.each(lambda *models: np.mean(models, axis=0)))


@for_worlds()
def test_weighted_average(world: World):
    expected = world.each(lambda *models: np.average(models, axis=0, weights=[2, 1, 1]))
    world.check(weighted_average(world.vectors, weights=[2, 1, 1]), expected)


@for_worlds(examples=5)
def test_weighted_average_by_patterns(world: World):
    weights = [Table((("blocks.*", 3), ("*", 1))), 1, 1]
    expected = {
        name: np.average(models, axis=0, weights=[3 if name.startswith("blocks.") else 1, 1, 1])
        for name, models in world.each(lambda *models: np.stack(models)).items()
    }
    world.check(weighted_average(world.vectors, weights=weights), expected)


@for_worlds(models=3)
def test_ema_of(world: World):
    weights = [0.8**3, 0.2 * 0.8**2, 0.2 * 0.8, 0.2]
    expected = world.each(lambda *models: sum(w * m for w, m in zip(weights, models, strict=True)))
    world.check(ema_of(world.vectors, decay=0.8), expected)


@for_worlds(models=3)
def test_lawa(world: World):
    expected = world.each(lambda *models: np.mean(models[-2:], axis=0))
    world.check(lawa(world.vectors, last=2), expected)


@for_worlds(models=1)
def test_wise_ft(world: World):
    world.check(wise_ft(*world.vectors, alpha=0.3), world.each(lambda base, model: 0.7 * base + 0.3 * model))


@for_worlds()
def test_geometric_mean(world: World):
    def formula(*models: np.ndarray) -> np.ndarray:
        stacked = np.stack(models)
        agree = np.all(stacked > 0, axis=0) | np.all(stacked < 0, axis=0)
        size = np.prod(np.abs(stacked) ** np.reshape([0.5, 0.25, 0.25], (3,) + (1,) * models[0].ndim), axis=0)
        return np.where(agree, np.sign(models[0]) * size, 0)

    world.check(geometric_mean(world.vectors, weights=[2, 1, 1]), world.each(formula))


@for_worlds()
def test_fisher(world: World):
    squares = [{name: array**2 for name, array in arrays.items()} for arrays in world.arrays]
    fishers = [memory_input(f"f{i}", arrays, "other") for i, arrays in enumerate(squares)]
    norms = [np.sqrt(sum(float((array**2).sum()) for array in square.values())) + 0.01 for square in squares]

    def formula(*both: np.ndarray) -> np.ndarray:
        models, diagonals = both[:3], both[3:]
        weights = [w * (d + 0.01) / n for w, d, n in zip((1, 2, 3), diagonals, norms, strict=True)]
        return sum(w * m for w, m in zip(weights, models, strict=True)) / sum(weights)

    value = fisher(world.vectors, fishers, weights=[1, 2, 3], floor=0.01)
    world.check(value, world.each(formula, *squares))


@for_worlds(models=1, examples=5)
def test_fisher_of_equal_certainty_is_the_mean(world: World):
    zeros = memory_input("zeros", {name: array * 0 for name, array in world.arrays[0].items()}, "other")
    expected = world.each(lambda a, b: (a + b) / 2)
    world.check(fisher(world.vectors, [zeros, zeros], normalize=False), expected)


@for_worlds(models=1, examples=1)
def test_refusals(world: World):
    a, b = world.vectors
    with pytest.raises(RecipeError, match="add up to 0"):
        weighted_average([a, b], weights=[1, -1])
    with pytest.raises(RecipeError, match="last 3 of 2"):
        lawa([a, b], last=3)
    with pytest.raises(RecipeError, match=r"in \[0, 1\]"):
        wise_ft(a, b, alpha=1.5)
    with pytest.raises(RecipeError, match=r"in \[0, inf"):
        geometric_mean([a, b], weights=[1, -1])
    with pytest.raises(RecipeError, match="1 Fisher diagonals for 2 models"):
        fisher([a, b], [a])
    with pytest.raises(RecipeError, match="empty list"):
        soup([])
    with pytest.raises(KindError):
        soup([a, constant(1)])
    with pytest.raises(KindError, match="must be a model"):
        world.check(wise_ft(a, b - a), {})
