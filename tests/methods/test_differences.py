"""Methods that add and take over differences, against numpy on whole arrays."""

from __future__ import annotations

import numpy as np
import pytest

from tests.methods.world import METHODS, SCOPES, World, for_worlds, top, total, words
from weightmath.errors import KindError, RecipeError

task_arithmetic, expo, magmax = METHODS["task_arithmetic"], METHODS["expo"], METHODS["magmax"]
add_difference, train_difference = METHODS["add_difference"], METHODS["train_difference"]
perpendicular, add_cosine = METHODS["perpendicular"], METHODS["add_cosine"]
similarity_add_difference = METHODS["similarity_add_difference"]
graft, random_graft = METHODS["graft"], METHODS["random_graft"]


@for_worlds()
def test_task_arithmetic(world: World):
    base, *models = world.vectors
    value = task_arithmetic(base, models, weights=[1, -0.5], scale=0.3)
    world.check(value, world.each(lambda t0, t1, t2: t0 + 0.3 * ((t1 - t0) - 0.5 * (t2 - t0))))


@for_worlds(models=1)
def test_expo(world: World):
    world.check(expo(*world.vectors, alpha=0.3), world.each(lambda sft, dpo: dpo + 0.3 * (dpo - sft)))


@for_worlds(models=3)
def test_magmax(world: World):
    def formula(base: np.ndarray, *models: np.ndarray) -> np.ndarray:
        deltas = np.stack([model - base for model in models])
        largest = np.argmax(np.abs(deltas), axis=0)  # the first of equals
        return base + 0.5 * np.take_along_axis(deltas, largest[None], axis=0)[0]

    base, *models = world.vectors
    world.check(magmax(base, models), world.each(formula))


@for_worlds()
def test_add_difference(world: World):
    world.check(add_difference(*world.vectors, alpha=0.7), world.each(lambda a, b, c: a + 0.7 * (b - c)))


@for_worlds()
def test_train_difference(world: World):
    def formula(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        # As supermerger words it: the distances, their share, the sign of the difference.
        distance_c, distance_a = np.abs(b - c), np.abs(b - a)
        both = distance_c + distance_a
        share = np.divide(distance_a, both, out=np.zeros_like(both), where=both != 0)
        return a + np.sign(b - c) * share * np.abs(b - c) * (0.9 * 1.8)

    world.check(train_difference(*world.vectors, alpha=0.9), world.each(formula))


@for_worlds()
def test_perpendicular(world: World):
    def formula(a: np.ndarray, b: np.ndarray, base: np.ndarray) -> np.ndarray:
        own, other = a - base, b - base
        length = np.linalg.norm(own)
        unit = own / length if length else own
        return a + 0.5 * (other - (other @ unit) * unit)

    for scope in SCOPES:
        value = perpendicular(*world.vectors, alpha=0.5, scope=scope)
        world.check(value, world.per_cell(scope, formula))


@for_worlds()
def test_similarity_add_difference(world: World):
    def formula(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        threshold = np.maximum(np.abs(a), np.abs(b))
        with np.errstate(all="ignore"):
            similarity = np.nan_to_num((a * b / threshold**2 + 1) / 2 * 0.6, nan=0.6)
        added, averaged = a + 0.5 * (b - c), (1 - 0.5 / 2) * a + 0.5 / 2 * b
        return (1 - similarity) * added + similarity * averaged

    value = similarity_add_difference(*world.vectors, alpha=0.5, beta=0.6)
    world.check(value, world.each(formula))


@for_worlds(models=1)
def test_add_cosine(world: World):
    def formula(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        lengths = np.linalg.norm(a) * np.linalg.norm(b)
        cosine = a @ b / lengths if lengths else 0.0
        k = 1 - np.clip(cosine - 0.2, 0, 1)
        return (1 - k) * a + k * b

    for scope in SCOPES:
        world.check(add_cosine(*world.vectors, alpha=0.2, scope=scope), world.per_cell(scope, formula))


@for_worlds(models=1)
def test_graft(world: World):
    for scope in SCOPES:
        expected = world.per_cell(scope, lambda base, model: np.where(top(model - base, 0.29), model, base))
        world.check(graft(*world.vectors, density=0.29, scope=scope), expected, rtol=0)


@for_worlds(models=1)
def test_random_graft(world: World):
    drawn = words(5, "model 0")
    expected = world.each(lambda base, model, word: np.where(word < 0.3, model, base), drawn)
    world.check(random_graft(*world.vectors, density=0.3, seed=5), expected, rtol=0)


@for_worlds(models=1, examples=1)
def test_refusals(world: World):
    base, model = world.vectors
    with pytest.raises(RecipeError, match=r"in \[0, inf"):
        expo(base, model, alpha=-1)
    with pytest.raises(RecipeError, match="2 values for 1 models"):
        task_arithmetic(base, [model], weights=[1, 1])
    with pytest.raises(KindError, match="must be a model"):
        world.check(add_difference(base, model - base, base), {})


def test_the_reference_sums_in_order():
    assert total([np.array([1e20]), np.array([-1e20]), np.array([1.0])]) == 1
