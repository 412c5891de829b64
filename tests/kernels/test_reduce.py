"""Statistics against plain numpy on whole arrays, and the laws that make them independent of how work is cut."""

from __future__ import annotations

import math

import numpy as np
import pytest

from weightmath.kernels.reduce import REDUCTIONS

VECTORS = {"dot": 2, "cosine": 2, "gram": 3, "squared_distances": 3, "opposed": 3}


def plain_cosine(a, b):
    return a @ b / (math.sqrt(a @ a) * math.sqrt(b @ b))


def plain_gram(*vs):
    return np.array([[math.fsum(a * b) for b in vs] for a in vs])


def plain_squared_distances(*points):
    return np.array([[math.fsum((a - b) ** 2) for b in points] for a in points])


PLAIN = {
    "sum": math.fsum,
    "mean": lambda x: math.fsum(x) / x.size,
    "std": lambda x: x.std(),
    "norm": lambda x: math.sqrt(math.fsum(x * x)),
    "dot": lambda a, b: math.fsum(a * b),
    "cosine": plain_cosine,
    "min": lambda x: x.min(),
    "max": lambda x: x.max(),
    "count": np.count_nonzero,
    "density": lambda x: np.count_nonzero(x) / x.size,
    "gram": plain_gram,
    "squared_distances": lambda *vs: plain_squared_distances(np.zeros_like(vs[0]), *vs),
    "opposed": lambda *vs: np.array([[np.count_nonzero(np.sign(a) * np.sign(b) == -1) for b in vs] for a in vs]),
}


def vectors(name, shape, dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.standard_normal(shape) * (rng.random(shape) < 0.8)).astype(dtype) for _ in range(VECTORS.get(name, 1))]


@pytest.fixture(params=PLAIN)
def name(request):
    return request.param


def test_every_statistic_is_tested():
    assert PLAIN.keys() == REDUCTIONS.keys()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 10_001), (50, 9), (3, 1000)])
def test_equals_plain_numpy(name, dtype, shape):
    reduction = REDUCTIONS[name]
    xs = vectors(name, shape, dtype)
    found = reduction.finish(reduction.partial(*xs))
    expected = [PLAIN[name](*(x[row].astype("float64") for x in xs)) for row in range(shape[0])]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_a_cell_folded_of_tiles_equals_the_whole(name):
    reduction = REDUCTIONS[name]
    xs = [x + 3 for x in vectors(name, (1, 5000))]
    state = reduction.empty(1, len(xs))
    for start in range(0, 5000, 700):
        state = reduction.fold(state, reduction.partial(*(x[:, start : start + 700] for x in xs)))
    assert state.shape == (1, reduction.size(len(xs)))
    np.testing.assert_allclose(reduction.finish(state), reduction.finish(reduction.partial(*xs)), rtol=1e-13)


@pytest.mark.parametrize("cols", [1, 7, 9, 128, 129, 1000])
def test_a_row_does_not_depend_on_its_company_or_place(name, cols):
    reduction = REDUCTIONS[name]
    xs = vectors(name, (64, cols))
    together = reduction.partial(*xs)
    for row in range(64):
        np.testing.assert_array_equal(reduction.partial(*(x[row : row + 1] for x in xs))[0], together[row])
    for shift in (1, 3, 5, 6):
        moved = []
        for x in xs:
            moved.append(np.empty(x.size + 16, x.dtype)[shift : shift + x.size].reshape(x.shape))
            moved[-1][:] = x
        np.testing.assert_array_equal(reduction.partial(*moved), together)
    apart = [np.repeat(x, 2, axis=1)[:, ::2] for x in xs]
    np.testing.assert_array_equal(reduction.partial(*apart), together)


def test_inputs_are_unchanged(name):
    xs = vectors(name, (5, 300))
    before = [x.copy() for x in xs]
    REDUCTIONS[name].partial(*xs)
    for x, old in zip(xs, before, strict=True):
        np.testing.assert_array_equal(x, old)


def test_nothing_is_zero_and_changes_nothing(name):
    reduction = REDUCTIONS[name]
    xs = vectors(name, (4, 100))
    nothing = reduction.empty(4, len(xs))
    state = reduction.partial(*xs)
    np.testing.assert_array_equal(reduction.finish(nothing), np.zeros_like(reduction.finish(state)))
    np.testing.assert_array_equal(reduction.partial(*(x[:, :0] for x in xs)), nothing)
    np.testing.assert_array_equal(reduction.fold(nothing, state), state)
    np.testing.assert_array_equal(reduction.fold(state, nothing), state)


def test_std_of_a_constant_is_exactly_zero():
    std = REDUCTIONS["std"]
    assert sum([0.1] * 3) / 3 != 0.1
    tiles = [std.partial(np.full((1, n), 0.1)) for n in (3, 1000, 77)]
    state = std.fold(std.fold(tiles[0], tiles[1]), tiles[2])
    assert std.finish(state) == 0
    assert state[0, 1] == 0.1


def test_std_survives_a_mean_a_million_times_larger():
    x = (np.random.default_rng(1).standard_normal((1, 4096)) + 1e6).astype("float64")
    std = REDUCTIONS["std"]
    state = std.fold(std.partial(x[:, :1000]), std.partial(x[:, 1000:]))
    np.testing.assert_allclose(std.finish(state), x.std(), rtol=1e-12)


def test_cosine_with_a_zero_vector_is_zero_and_never_leaves_its_range():
    cosine = REDUCTIONS["cosine"]
    x = vectors("sum", (200, 31))[0]
    assert (cosine.finish(cosine.partial(x, 0 * x)) == 0).all()
    same = cosine.finish(cosine.partial(x, 3 * x))
    assert (same <= 1).all()
    np.testing.assert_allclose(same, 1, rtol=1e-15)


@pytest.mark.parametrize("name", ["sum", "mean", "norm", "min", "max"])
def test_nan_is_carried_on(name):
    reduction = REDUCTIONS[name]
    x = np.ones((2, 100), "float32")
    x[1, 50] = np.nan
    state = reduction.fold(reduction.partial(x), reduction.partial(np.ones((2, 9), "float32")))
    np.testing.assert_array_equal(np.isnan(reduction.finish(state)), [False, True])


@pytest.mark.parametrize("name", ["sum", "min", "max", "dot", "gram", "squared_distances"])
def test_zero_has_no_sign(name):
    reduction = REDUCTIONS[name]
    xs = [np.full((1, 4), -0.0, "float32"), np.ones((1, 4), "float32")][: VECTORS.get(name, 1)]
    assert not np.signbit(reduction.finish(reduction.partial(*xs))).any()


def test_count_and_density_take_masks():
    mask = np.array([[True, False, True, False], [False] * 4])
    assert REDUCTIONS["count"].finish(REDUCTIONS["count"].partial(mask)).tolist() == [2, 0]
    assert REDUCTIONS["density"].finish(REDUCTIONS["density"].partial(mask)).tolist() == [0.5, 0]


def test_infinite_extremes_are_not_taken_for_nothing():
    x = np.full((1, 3), -np.inf, "float32")
    assert REDUCTIONS["max"].finish(REDUCTIONS["max"].partial(x)) == -np.inf
