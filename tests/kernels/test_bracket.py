"""What one tile contributes to a selection, and where a cell is sampled."""

from __future__ import annotations

import numpy as np
import pytest

from weightmath.kernels.bracket import Bracket, Cut, mask_tile, sample_ranges, tally, trivial_cut


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
@pytest.mark.parametrize(("lo", "hi"), [(0, 9), (100, 900), (300, 300), (2000, 3000), (0, "max"), (950, "max")])
def test_a_tally_counts_and_collects(dtype, lo, hi):
    keys = np.random.default_rng(0).integers(0, 1000, (40, 25)).astype(dtype)
    keys[3, 4] = top = int(np.iinfo(dtype).max)
    hi = top if hi == "max" else hi
    found = tally(Bracket(lo, hi, successor=True), 7, keys)
    flat = keys.reshape(-1).astype(object)
    inside = (flat >= lo) & (flat <= hi)
    assert (found.tile, found.size, found.below, found.inside) == (7, 1000, (flat < lo).sum(), inside.sum())
    collected = found.keys if found.counts is None else np.repeat(found.keys, found.counts)
    assert sorted(collected.tolist()) == sorted(flat[inside].tolist())
    assert found.above == min(flat[flat > hi], default=None)
    assert tally(Bracket(lo, hi), 7, keys).above is None


def test_many_equal_keys_are_held_once():
    keys = np.repeat(np.arange(4, dtype=np.uint32), 5000)
    found = tally(Bracket(1, 3), 0, keys)
    assert found.keys.tolist() == [1, 2, 3]
    assert found.counts.tolist() == [5000] * 3
    assert found.nbytes < 1000
    assert tally(Bracket(0, 2**32 - 1), 0, np.arange(5000, dtype=np.uint32)).counts is None


def test_a_cut_keeps_ties_up_to_its_place():
    keys = np.array([5, 7, 5, 3, 5, 9], np.uint32)
    cut = Cut(key=5, tile=4, ties=2)
    masks = [mask_tile(keys, cut, tile, np.empty(6, bool)).astype(int).tolist() for tile in (3, 4, 5)]
    assert masks == [[1, 1, 1, 0, 1, 1], [1, 1, 1, 0, 0, 1], [0, 1, 0, 0, 0, 1]]


def test_trivial_cuts_keep_all_or_nothing():
    keys = np.array([[0, 2**32 - 1], [5, 5]], np.uint32)
    for tile in (0, 10**12):
        assert mask_tile(keys, trivial_cut(4, 4, keys.dtype), tile, np.empty((2, 2), bool)).all()
        assert not mask_tile(keys, trivial_cut(4, 0, keys.dtype), tile, np.empty((2, 2), bool)).any()
    assert trivial_cut(4, 2, keys.dtype) is None


@pytest.mark.parametrize("n", [1, 1 << 20, (1 << 20) + 1, 10**8, 10**11])
def test_samples_lie_apart_within_the_cell(n):
    ranges = sample_ranges(n)
    edges = [edge for part in ranges for edge in part]
    assert edges == sorted(edges)
    assert edges[0] >= 0
    assert edges[-1] <= n
    sampled = sum(stop - start for start, stop in ranges)
    assert min(n, n ** (2 / 3), 8 << 20) <= sampled <= 8 << 20
    if n > 1 << 24:
        assert len({start % 1024 for start, _ in ranges}) > 100


def test_a_sample_fits_its_share_of_the_budget():
    for budget in (1 << 20, 1 << 24):
        sampled = sum(stop - start for start, stop in sample_ranges(10**8, 4, budget))
        assert budget // 8 < 4 * sampled <= budget
    assert len(sample_ranges(10**8, 4, 1)) == 16
