"""Methods that look for what several task vectors have in common, against the papers' formulas on flat vectors."""

from __future__ import annotations

import numpy as np
import pytest

from tests.engine.whole import run
from tests.methods.world import METHODS, SCOPES, SHAPES, World, for_worlds, per_cell, top, total
from weightmath.errors import RecipeError

sce, pcb, consensus = METHODS["sce"], METHODS["pcb"], METHODS["consensus"]
emr, emr_task, ram, ram_plus = METHODS["emr"], METHODS["emr_task"], METHODS["ram"], METHODS["ram_plus"]
arcee_fusion = METHODS["arcee_fusion"]


def divided(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, and 0 where b is 0."""
    return np.divide(a, b, out=np.zeros_like(a), where=b != 0)


@for_worlds(models=3)
def test_sce(world: World):
    base, *models = world.vectors

    def formula(base: np.ndarray, *models: np.ndarray) -> np.ndarray:
        deltas = [model - base for model in models]
        mean = total(deltas) / 3
        variance = total([(delta - mean) * (delta - mean) for delta in deltas]) / 3
        chosen = np.stack(deltas) * top(variance, 0.3)
        energies = (chosen**2).sum(axis=1, keepdims=True)
        weights = energies / energies.sum() if energies.sum() else energies
        agree = (np.sign(chosen) == np.sign(total(list(chosen)))) & (chosen != 0)
        return base + divided((chosen * weights * agree).sum(axis=0), (weights * agree).sum(axis=0))

    for scope in SCOPES:
        world.check(sce(base, models, density=0.3, scope=scope), world.per_cell(scope, formula))


@for_worlds()
def test_pcb(world: World):
    base, *models = world.vectors

    def stretched(x: np.ndarray, low: float, high: float) -> np.ndarray:
        return (np.clip(x, low, high) - low) / (high - low) if high > low else np.zeros_like(x)

    def formula(base: np.ndarray, *models: np.ndarray) -> np.ndarray:
        deltas = [model - base for model in models]
        merged, mass = np.zeros_like(base), np.zeros_like(base)
        for delta in deltas:
            low, high = np.quantile(np.abs(delta), [1e-4, 1 - 1e-4])
            size = np.clip(np.abs(delta), low, high)
            balance = np.exp(len(deltas) * stretched(size, low, high) ** 2) * np.tanh(delta * total(deltas))
            weight = stretched(balance, np.quantile(balance, 1 - 0.2), balance.max())
            merged += weight * np.sign(delta) * size
            mass += weight
        return base + 1.2 * divided(merged, mass)

    for scope in SCOPES:
        world.check(pcb(base, models, ratio=0.2, scale=1.2, scope=scope), world.per_cell(scope, formula), rtol=1e-7)


@for_worlds(models=3)
def test_consensus(world: World):
    base, *models = world.vectors

    def formula(base: np.ndarray, *models: np.ndarray) -> np.ndarray:
        deltas = [model - base for model in models]
        task = total(deltas)
        masks = [np.abs(d) > k * np.abs(task - d) for d, k in zip(deltas, (0.2, 0.4, 0.6), strict=True)]
        return base + 0.3 * np.where(np.sum(masks, axis=0) >= 2, task, 0)

    world.check(consensus(base, models, thresholds=[0.2, 0.4, 0.6], scale=0.3), world.each(formula))


def unified(deltas: list[np.ndarray]) -> np.ndarray:
    sign = np.sign(total(deltas))
    return sign * np.max([np.where(np.sign(d) == sign, np.abs(d), 0) for d in deltas], axis=0)


@for_worlds(models=3)
def test_emr(world: World):
    base, *models = world.vectors
    value = emr(base, models)
    world.check(value, world.each(lambda base, *models: base + unified([model - base for model in models])))


@for_worlds(models=3)
def test_emr_task(world: World):
    base, *models = world.vectors

    def formula(base: np.ndarray, *models: np.ndarray) -> np.ndarray:
        deltas = [model - base for model in models]
        whole = unified(deltas)
        masked = whole * (np.sign(whole) * np.sign(deltas[1]) > 0)
        size = np.abs(masked).sum()
        return base + (np.abs(deltas[1]).sum() / size * masked if size else 0)

    for scope in SCOPES:
        world.check(emr_task(base, models, task=-2, scope=scope), world.per_cell(scope, formula))


@for_worlds(models=3)
def test_ram(world: World):
    base, *models = world.vectors

    def formula(base: np.ndarray, *models: np.ndarray) -> np.ndarray:
        deltas = np.stack([model - base for model in models])
        moved = np.abs(deltas) > 0.3
        count = moved.sum(axis=0)
        mean = divided((deltas * moved).sum(axis=0), count.astype(float))
        unique = (deltas * moved * (count == 1)).sum(axis=0)
        return base + np.where(count > 1, mean, unique)

    world.check(ram(base, models, epsilon=0.3), world.each(formula))


@for_worlds(models=3)
def test_ram_plus(world: World):
    base, *models = world.vectors

    def formula(base: np.ndarray, *models: np.ndarray) -> np.ndarray:
        deltas = np.stack([model - base for model in models])
        moved = np.abs(deltas) > 0.3
        count = moved.sum(axis=0)
        shared, unique = (moved & (count > 1)).sum(axis=1), (moved & (count == 1)).sum(axis=1)
        ratio = np.array([s / u if u else np.inf if s else 0 for s, u in zip(shared, unique, strict=True)])
        factors = 1 + 0.5 * np.minimum(ratio, 0.4)
        mean = divided((deltas * moved).sum(axis=0), count.astype(float))
        strong = (deltas * moved * (count == 1) * factors[:, None]).sum(axis=0)
        return base + np.where(count > 1, mean, strong)

    for scope in SCOPES:
        value = ram_plus(base, models, r=0.5, alpha=0.4, epsilon=0.3, scope=scope)
        world.check(value, world.per_cell(scope, formula))


@for_worlds(models=1)
def test_arcee_fusion(world: World):
    def divergence(base: np.ndarray, model: np.ndarray) -> np.ndarray:
        p, q = (np.exp(x - x.max()) / np.exp(x - x.max()).sum() for x in (model, base))
        logs = (model - model.max() - np.log(np.exp(model - model.max()).sum())) - (
            base - base.max() - np.log(np.exp(base - base.max()).sum())
        )
        assert np.isclose(q.sum(), 1)
        return np.full(base.shape, (p * logs).sum())

    def edge(importance: np.ndarray) -> np.ndarray:
        quartile, middle, third = np.quantile(importance, [0.25, 0.5, 0.75])
        return np.full(importance.shape, middle + 1.5 * (third - quartile))

    base, model = world.arrays
    divergences = per_cell("row", divergence, base, model)
    importance = {name: np.abs(model[name] - base[name]) * divergences[name] for name in SHAPES}
    for scope in SCOPES:
        edges = per_cell(scope, edge, importance)
        got, _ = run(arcee_fusion(*world.vectors, scope=scope))
        for name in SHAPES:
            distance = importance[name] - edges[name]
            # Rounding decides what lies on the edge itself, as all do where nothing changed.
            clear = np.abs(distance) > 1e-9 * np.maximum(1, np.abs(model[name]).max(initial=0)) ** 2
            expected = np.where(distance > 0, model[name], base[name])
            np.testing.assert_array_equal(got[name][clear], expected[clear], err_msg=name)
            either = (got[name] == model[name]) | (got[name] == base[name])
            assert either.all(), name


@for_worlds(examples=1)
def test_refusals(world: World):
    base, *models = world.vectors
    with pytest.raises(RecipeError, match="no task 2 among 2 models"):
        emr_task(base, models, task=2)
    with pytest.raises(RecipeError, match=r"`least` must be in \[1, inf"):
        consensus(base, models, least=0)
    with pytest.raises(RecipeError, match="plain number"):
        pcb(base, models, ratio=base)
