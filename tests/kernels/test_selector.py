"""Streamed selection against a sort of the whole cell, on data and samples chosen to mislead it."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightmath.kernels.bracket import mask_tile, sample_ranges, tally
from weightmath.kernels.select import interpolate, magnitude_keys, quantile_rank, value_keys, value_of
from weightmath.kernels.selector import Selector

N = 200_000
TILE = 3000


def plain(rng):
    return rng.standard_normal(N).astype("float32")


def doubles(rng):
    return rng.standard_normal(N)


def half_differences(rng):
    base = rng.standard_normal(N).astype("float16")
    return (base + 1e-3 * rng.standard_normal(N)).astype("float16").astype("float32") - base.astype("float32")


def half_zeros(rng):
    return plain(rng) * (rng.random(N) < 0.5).astype("float32")


def constant(rng):
    return np.full(N, -0.25, "float32")


def narrow(rng):
    """All within 65,536 neighbouring keys, and not two equal."""
    return (rng.permutation(N) % 65_536 + 0x3F000000).astype(np.uint32).view("float32")


def uneven(rng):
    """Each run of elements has a scale of its own, as layers have."""
    return plain(rng) * np.repeat(np.exp(rng.standard_normal(200)), N // 200).astype("float32")


DATA = [plain, doubles, half_differences, half_zeros, constant, narrow, uneven]


def pieces(keys, size=TILE):
    return [keys[start : start + size] for start in range(0, keys.size, size)]


def select(keys, rank, sample=(), order=None, **options):
    """Run a selector to its end; the result and the number of readings."""
    selector = Selector(keys.size, rank, keys.dtype, **options)
    if sample:
        selector.sample(sample)
    tiles = list(enumerate(pieces(keys)))
    readings = 0
    while selector.selected is None:
        random.Random(order).shuffle(tiles)
        for number, tile in tiles:
            selector.add(tally(selector.bracket, number, tile))
        selector.advance()
        readings += 1
    return selector.selected, readings


def kept(keys, cut):
    masks = [mask_tile(tile, cut, number, np.empty(tile.shape, bool)) for number, tile in enumerate(pieces(keys))]
    return np.concatenate(masks)


def kept_by_sorting(keys, k):
    mask = np.zeros(keys.size, bool)
    mask[np.argsort(np.iinfo(keys.dtype).max - keys, kind="stable")[:k]] = True
    return mask


def honest_sample(keys):
    return [keys[start : start + 500] for start in range(0, keys.size, 10_000)]


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("density", [0.2, 0.5, 0.999])
def test_keeps_what_a_stable_sort_keeps(data, density):
    keys = magnitude_keys(data(np.random.default_rng(1)))
    k = int(density * N)
    selected, readings = select(keys, N - k, honest_sample(keys))
    assert selected.key == np.sort(keys)[N - k]
    np.testing.assert_array_equal(kept(keys, selected.cut), kept_by_sorting(keys, k))
    assert readings == 1
    assert select(keys, N - k, honest_sample(keys), order=5)[0] == selected
    assert select(keys, N - k, order=6)[0] == selected


@pytest.mark.parametrize("data", DATA)
def test_a_tiny_budget_costs_readings_only(data):
    keys = magnitude_keys(data(np.random.default_rng(2)))
    k = N // 5
    selected, readings = select(keys, N - k, budget=1000)
    np.testing.assert_array_equal(kept(keys, selected.cut), kept_by_sorting(keys, k))
    assert readings <= 3 if keys.dtype == np.uint32 else readings <= 5
    assert select(keys, N - k, budget=1000, order=9)[0] == selected


@pytest.mark.parametrize("wrong", ["low", "high"])
@pytest.mark.parametrize("data", DATA)
def test_a_sample_that_misleads_costs_one_reading(data, wrong):
    keys = magnitude_keys(data(np.random.default_rng(3)))
    ordered = np.sort(keys)
    liar = ordered[:20_000] if wrong == "low" else ordered[-20_000:]
    selected, readings = select(keys, N // 2, pieces(liar, 500))
    np.testing.assert_array_equal(kept(keys, selected.cut), kept_by_sorting(keys, N - N // 2))
    assert readings <= 2
    assert select(keys, N // 2, pieces(liar, 500), budget=1000)[1] <= (4 if keys.dtype == np.uint32 else 6)


def test_the_misleading_sample_does_mislead():
    keys = magnitude_keys(plain(np.random.default_rng(3)))
    assert select(keys, N // 2, pieces(np.sort(keys)[:20_000], 500))[1] == 2


def test_a_sample_of_everything_leaves_one_key():
    keys = magnitude_keys(plain(np.random.default_rng(4)))
    selector = Selector(N, 1234, keys.dtype)
    selector.sample([keys])
    assert selector.bracket.lo == selector.bracket.hi == np.sort(keys)[1234]


def test_a_sample_of_few_blocks_is_not_trusted():
    keys = magnitude_keys(uneven(np.random.default_rng(4)))
    selector = Selector(N, N // 2, keys.dtype)
    before = selector.bracket
    selector.sample([keys[:1000], keys[5000:6000]])
    assert selector.bracket == before


def test_brackets_are_narrow_and_hold_the_rank():
    """Also where elements of one block are alike, so that they say less than as many independent ones."""
    misses, width = 0, []
    for seed in range(60):
        keys = magnitude_keys(uneven(np.random.default_rng(seed)))
        selector = Selector(N, N * 4 // 5, keys.dtype)
        selector.sample([keys[start : start + 400] for start in range(100, N, 4000)])
        lo, hi = selector.bracket.lo, selector.bracket.hi
        misses += not lo <= np.sort(keys)[N * 4 // 5] <= hi
        width.append(((keys >= lo) & (keys <= hi)).mean())
    assert misses == 0
    assert np.median(width) < 0.4


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("q", [0, 0.001, 0.5, 0.75, 1])
@pytest.mark.parametrize("budget", [1000, 1 << 25])
def test_quantiles_are_numpys(data, q, budget):
    x = data(np.random.default_rng(5)).astype("float64")
    rank, fraction = quantile_rank(q, N)
    keys = value_keys(x)
    selected, _ = select(keys, rank, honest_sample(keys), successor=True, budget=budget)
    low, high = value_of(np.array([selected.key, selected.successor], keys.dtype))
    assert interpolate(low, high, fraction) == np.quantile(x, q)


@pytest.mark.parametrize("nan", [np.nan, -np.nan])
@pytest.mark.parametrize("place", [0, N // 2, N - 1])
@pytest.mark.parametrize("budget", [1000, 1 << 25])
def test_a_nan_is_told(nan, place, budget):
    x = plain(np.random.default_rng(8))
    x[::7], x[1::7] = np.inf, -np.inf
    sample = honest_sample(value_keys(x))
    assert not select(value_keys(x), N // 3, sample, successor=True, budget=budget)[0].nan
    x[place] = nan
    assert select(value_keys(x), N // 3, sample, successor=True, budget=budget)[0].nan


def test_the_successor_may_lie_far_above_the_bracket():
    x = np.repeat(np.array([-1, 1], "float32"), 5000)
    keys = value_keys(x)
    selected, readings = select(keys, 4999, pieces(keys, 100), successor=True)
    assert value_of(np.array([selected.key, selected.successor], keys.dtype)).tolist() == [-1, 1]
    assert readings == 1
    last, _ = select(keys, 9999, successor=True)
    assert last.successor == last.key


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 30) | st.integers(0, 2**32 - 1), min_size=1, max_size=60),
    st.data(),
    st.sampled_from([1, 1000, 1 << 20]),
    st.sampled_from(["uint32", "uint64"]),
)
def test_any_cell_any_rank(values, data, budget, dtype):
    keys = np.repeat(np.array(values, dtype), 300)  # several tiles, ties across their borders
    rank = data.draw(st.integers(0, keys.size - 1))
    selected, _ = select(keys, rank, order=rank, successor=True, budget=budget)
    ordered = np.sort(keys)
    assert selected.key == ordered[rank]
    assert selected.successor == ordered[min(rank + 1, keys.size - 1)]
    np.testing.assert_array_equal(kept(keys, selected.cut), kept_by_sorting(keys, keys.size - rank))


def test_threads_may_feed_one_selector():
    keys = magnitude_keys(half_differences(np.random.default_rng(6)))
    selector = Selector(N, N // 2, keys.dtype)
    with ThreadPoolExecutor(4) as pool:
        for each in [
            pool.submit(lambda i, t: selector.add(tally(selector.bracket, i, t)), i, t)
            for i, t in enumerate(pieces(keys, 500))
        ]:
            each.result()
    selector.advance()
    assert selector.selected.key == np.sort(keys)[N // 2]


def test_an_incomplete_reading_is_refused():
    keys = magnitude_keys(plain(np.random.default_rng(7)))
    selector = Selector(N, 5, keys.dtype)
    selector.add(tally(selector.bracket, 0, keys[:TILE]))
    with pytest.raises(ValueError, match="a reading of 3000 elements of a cell of 200000"):
        selector.advance()
    with pytest.raises(ValueError, match="rank 5 of 5"):
        Selector(5, 5, keys.dtype)


def test_sampling_by_the_recommended_ranges_needs_one_reading():
    rng = np.random.default_rng(8)
    x = rng.standard_normal(3_000_000).astype("float32")
    x[:1_500_000] *= 3
    keys = magnitude_keys(x)
    sample = [keys[start:stop] for start, stop in sample_ranges(keys.size)]
    selected, readings = select(keys, 2_400_000, sample)
    assert selected.key == np.partition(keys, 2_400_000)[2_400_000]
    assert readings == 1
