"""Selections in memory against a stable sort of whole arrays."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightmath.kernels import machine, select


def random(shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def half_differences(shape, seed=0):
    """What a fine-tune of half-precision weights looks like: very many equal magnitudes."""
    rng = np.random.default_rng(seed)
    base = rng.standard_normal(shape).astype("float16")
    return (base + 1e-3 * rng.standard_normal(shape)).astype("float16").astype("float32") - base.astype("float32")


def half_zeros(shape, seed=0):
    x = random(shape, seed=seed)
    x.reshape(-1)[::2] = 0
    return x


def constant(shape, seed=0):
    return np.full(shape, -0.25, "float32")


DATA = [random, half_differences, half_zeros, constant, lambda shape: random(shape, "float64")]


def kept_by_sorting(x, k):
    """The k elements of the largest magnitude, ties by index: the definition, row by row."""
    mask = np.zeros(x.shape, bool)
    for row, out in zip(x, mask, strict=True):
        out[np.argsort(-np.abs(row), kind="stable")[:k]] = True
    return mask


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("shape", [(1, 5000), (1, 1), (7, 300), (300, 7), (40, 1)])
def test_keeps_what_a_stable_sort_keeps(data, shape):
    x = data(shape)
    keys = select.magnitude_keys(x)
    before = keys.copy()
    for k in {0, 1, shape[1] // 5, shape[1] // 2, shape[1] - 1, shape[1]}:
        mask = select.mask_rows(keys, *select.threshold_rows(keys, k), np.empty(shape, bool))
        np.testing.assert_array_equal(mask, kept_by_sorting(x, k))
    np.testing.assert_array_equal(keys, before)


def test_each_cell_may_keep_a_number_of_its_own():
    x = half_differences((6, 500))
    keys = select.magnitude_keys(x)
    wanted = np.array([0, 1, 100, 100, 499, 500])
    mask = select.mask_rows(keys, *select.threshold_rows(keys, wanted), np.empty(x.shape, bool))
    np.testing.assert_array_equal(mask, np.vstack([kept_by_sorting(x[i : i + 1], k) for i, k in enumerate(wanted)]))


LOOPS = [False, *([True] if machine.compiler() else [])]


@pytest.mark.parametrize("loops", LOOPS)
@pytest.mark.parametrize("n", [1, 2, 60, 20_000, 300_001])
@pytest.mark.parametrize("data", DATA)
def test_one_cell_is_cut_where_a_stable_sort_cuts_it(data, n, loops):
    keys = select.magnitude_keys(data((1, n)))[0]
    for k in sorted({1, -(-n // 5), n // 2 or 1, n}):
        threshold, ties, last = select.cut_of(keys, k, loops=loops)
        mask = keys > threshold
        equal = np.flatnonzero(keys == threshold)[:ties]
        mask[equal] = True
        np.testing.assert_array_equal(mask, kept_by_sorting(keys[None].view(f"f{keys.itemsize}"), k)[0])
        assert last == equal[-1]


@pytest.mark.parametrize("loops", LOOPS)
@pytest.mark.parametrize("wrong", ["low", "high"])
def test_a_sample_that_misleads_costs_time_only(wrong, loops):
    n = 100_000
    keys = select.magnitude_keys(random((1, n)))[0]
    exact = select.cut_of(keys, n // 5, loops=loops)
    assert (exact[0], exact[1]) == (np.sort(keys)[n - n // 5], 1)
    sampled = select._SCATTERED[:10_000] * np.uint64(n) >> np.uint64(32)
    keys[sampled.astype(int)] = 0 if wrong == "low" else np.float32(np.inf).view(np.uint32)
    below, places = select._around(keys, n - n // 5, loops=loops)
    assert not 0 <= n - n // 5 - below < places.size
    assert select.cut_of(keys, n // 5, loops=loops)[0] == np.sort(keys)[n - n // 5]


def test_an_empty_cell_keeps_nothing():
    keys = np.empty((3, 0), np.uint32)
    assert select.mask_rows(keys, *select.threshold_rows(keys, 0), np.empty((3, 0), bool)).shape == (3, 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_keys_order_like_values_and_lead_back(dtype):
    extremes = [0.0, -0.0, np.inf, -np.inf, 1e-45, -1e-45, 5e-324, 3.4e38, -3.4e38, 1, -1]
    x = np.concatenate([np.array(extremes, dtype), random(500, dtype), -random(500, dtype)])
    for keys, value, back in [
        (select.magnitude_keys(x), np.abs(x), lambda keys: keys.view(dtype)),
        (select.value_keys(x), x, select.value_of),
    ]:
        assert keys.dtype == select.key_dtype(dtype)
        np.testing.assert_array_equal(np.argsort(keys, kind="stable"), np.argsort(value, kind="stable"))
        np.testing.assert_array_equal(back(keys), value)
        np.testing.assert_array_equal(back(select.descending(select.descending(keys))), value)
        assert np.unique(keys).size == np.unique(value).size


def test_descending_keys_keep_the_smallest():
    x = random((5, 100))
    keys = select.descending(select.magnitude_keys(x))
    mask = select.mask_rows(keys, *select.threshold_rows(keys, 30), np.empty(x.shape, bool))
    np.testing.assert_array_equal(mask, np.abs(x) <= np.sort(np.abs(x), axis=1)[:, 29:30])


def test_keys_can_be_written_into_given_arrays():
    x = random((4, 50))
    for make in select.magnitude_keys, select.value_keys:
        out = np.empty(x.shape, np.uint32)
        assert make(x, out) is out
        np.testing.assert_array_equal(out, make(x))


@pytest.mark.parametrize(
    ("density", "n", "k"),
    [(0.29, 100, 29), (0.57, 100, 57), (1.0, 7, 7), (0.0, 7, 0), (1e-9, 7, 1), (0.5, 0, 0), (0.2, 14, 2), (1, 3, 3)],
)
def test_a_density_is_the_decimal_that_was_written(density, n, k):
    assert select.keep_count(density, n) == k
    assert select.keep_count(np.float64(density), n) == k


def test_plain_float_arithmetic_would_miscount():
    assert math.floor(0.29 * 100) == 28


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=40), st.floats(0, 1))
def test_quantile_is_numpys(values, q):
    x = np.array(values)
    rank, fraction = select.quantile_rank(q, x.size)
    low, high = select.rank_rows(select.value_keys(x)[None], rank)
    found = select.interpolate(select.value_of(low), select.value_of(high), fraction)
    expected = np.quantile(x, q)
    np.testing.assert_allclose(found, [expected], rtol=1e-12, atol=1e-12 * np.abs(x).max())


def test_quantiles_of_rows_are_numpys_to_the_bit():
    x = random((9, 101), "float64")
    for q in (0, 0.013, 0.1, 0.5, 0.77, 1):
        rank, fraction = select.quantile_rank(q, 101)
        low, high = select.rank_rows(select.value_keys(x), rank)
        found = select.interpolate(select.value_of(low), select.value_of(high), fraction)
        np.testing.assert_array_equal(found, np.quantile(x, q, axis=1))


def test_interpolation_between_infinities_is_infinite():
    assert select.interpolate(np.inf, np.inf, 0.5) == np.inf
    assert select.interpolate(1.0, np.inf, 0.0) == 1
