"""Directions against plain numpy on flat vectors: planes through models, paths of checkpoints, equal filters."""

from __future__ import annotations

import numpy as np
import pytest

from tests.engine.whole import memory_input, run
from weightmath import functions as f
from weightmath.algebra.graph import Vector

SHAPES = {"conv.weight": (4, 3, 2, 2), "fc.weight": (5, 6), "fc.bias": (5,), "scale": ()}


def arrays(seed: int, spread: float = 1.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: np.asarray(spread * rng.standard_normal(shape)) for name, shape in SHAPES.items()}


def model(name: str, seed: int, spread: float = 1.0) -> Vector:
    return memory_input(name, arrays(seed, spread))


def flat(value: Vector | dict[str, np.ndarray]) -> np.ndarray:
    made = value if isinstance(value, dict) else run(value)[0]
    return np.concatenate([made[name].reshape(-1) for name in SHAPES])


a, b, c = model("a", 1), model("b", 2), model("c", 3)
A, B, C = (flat(arrays(seed)) for seed in (1, 2, 3))


def test_a_plane_is_gram_schmidt_on_the_two_steps():
    u, v = (flat(one) for one in f.plane(a, b, c))
    first = (B - A) / np.linalg.norm(B - A)
    second = (C - A) - (C - A) @ first * first
    np.testing.assert_allclose(u, first, rtol=1e-12)
    np.testing.assert_allclose(v, second / np.linalg.norm(second), rtol=1e-12)


def test_each_model_lies_in_its_plane_on_its_own_coordinates():
    u, v = f.plane(a, b, c)
    U, V = flat(u), flat(v)  # noqa: N806 - vectors as they are written
    for there in (A, B, C):
        x, y = float((there - A) @ U), float((there - A) @ V)
        np.testing.assert_allclose(flat(a + x * u + y * v), there, rtol=1e-12, atol=1e-12)
    assert (C - A) @ V > 0
    assert abs((B - A) @ V) < 1e-12


def test_models_on_a_line_span_no_plane():
    _, v = f.plane(a, b, a + 3 * (b - a))
    assert not flat(v).any()


def test_principal_directions_are_those_of_the_centred_runs():
    seeds = range(1, 6)
    runs = [model(f"run{seed}", seed, spread=seed) for seed in seeds]
    whole = np.stack([flat(arrays(seed, spread=seed)) for seed in seeds])
    _, lengths, directions = np.linalg.svd(whole - whole.mean(axis=0))
    for number, found in enumerate(map(flat, f.principal(runs, k=3))):
        assert abs(found @ directions[number]) == pytest.approx(1)
        assert (whole[-1] - whole[0]) @ found > 0
        assert np.linalg.norm((whole - whole.mean(axis=0)) @ found) == pytest.approx(lengths[number])


def filters(array: np.ndarray) -> np.ndarray:
    return np.linalg.norm(array.reshape(array.shape[0] if array.ndim > 1 else 1, -1), axis=1)


@pytest.mark.parametrize("one_dimensional", ["zero", "scale"])
def test_every_filter_is_as_long_as_the_models(one_dimensional):
    drawn, weights = run(f.gaussian(seed=1) + 0 * a)[0], arrays(1)
    found, _ = run(f.filter_normalized(f.gaussian(seed=1), like=a, one_dimensional=one_dimensional))
    for name, array in weights.items():
        if array.ndim < 2 and one_dimensional == "zero":
            assert not found.get(name, np.zeros(1)).any()
            continue
        np.testing.assert_allclose(filters(found[name]), filters(array), rtol=1e-12)
        factor = filters(array) / filters(drawn[name])
        np.testing.assert_allclose(found[name], (drawn[name].T * factor).T, rtol=1e-12)


def test_a_filter_of_zeros_stays_zero():
    still = {name: np.zeros_like(array) for name, array in arrays(1).items()}
    found, _ = run(f.filter_normalized(memory_input("still", still, kind="delta"), like=a))
    assert not any(array.any() for array in found.values())
