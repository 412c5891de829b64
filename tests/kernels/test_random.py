"""The stream against Philox written out in plain integers, golden values, and the statistics of what is made of it."""

from __future__ import annotations

import hashlib
import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from weightmath.kernels import normal, random

N = 1 << 20
KEY = random.key(7, "gaussian", "", "layer.0.weight")

MAKERS = {
    "words": random.words,
    "uniform": lambda key, start, stop: random.uniform(key, start, stop, "float32"),
    "bernoulli": lambda key, start, stop: random.bernoulli(key, start, stop, 0.3),
    "rademacher": lambda key, start, stop: random.rademacher(key, start, stop, "float32"),
    "gaussian": lambda key, start, stop: random.gaussian(key, start, stop, "float32"),
    "gaussian in float64": lambda key, start, stop: random.gaussian(key, start, stop, "float64"),
}


def philox(counter, key):
    """Philox 4x64-10 as published: four 64-bit words of one block."""
    a, b, c, d = counter, 0, 0, 0
    low, high = key & (2**64 - 1), key >> 64
    for _ in range(10):
        left, right = a * 0xD2E7470EE14C6C93, c * 0xCA5A826395121157
        a, b, c, d = (right >> 64) ^ b ^ low, right % 2**64, (left >> 64) ^ d ^ high, left % 2**64
        low, high = (low + 0x9E3779B97F4A7C15) % 2**64, (high + 0xBB67AE8584CAA73B) % 2**64
    return a, b, c, d


def test_the_reference_gives_the_published_vector():
    expected = (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B)
    assert philox(0, 0) == expected


@pytest.mark.parametrize("block", [0, 1, 1000, 2**40])
def test_words_are_philox(block):
    expected = np.array(philox(block + 1, KEY), np.uint64).view(np.uint32)
    np.testing.assert_array_equal(random.words(KEY, 8 * block, 8 * block + 8), expected)


def test_long_draws_are_numpys_raw_stream():
    raw = np.random.Philox(key=KEY, counter=5).random_raw(N // 2).view(np.uint32)
    np.testing.assert_array_equal(random.words(KEY, 40, 40 + N), raw)


def test_the_streams_are_frozen():
    assert KEY == 164102031435420494558567436920076900855
    assert random.words(KEY, 0, 4).tolist() == [0xCAF73C24, 0x2B0016E2, 0xDE364433, 0xD8B200DD]
    assert random.uniform(KEY, 0, 2, "float32").tolist() == [0.792834997177124, 0.16797006130218506]
    normals = random.gaussian(KEY, 0, N, "float64")
    assert normals[:2].tolist() == [0.5928637615131239, -0.3358464607506042]
    assert hashlib.blake2b(normals.tobytes(), digest_size=8).hexdigest() == "da4a4d145f192d62"


def test_keys_differ_in_every_part():
    parts = [(0, "f", "", "w"), (1, "f", "", "w"), (0, "g", "", "w"), (0, "f", "a", "w"), (0, "f", "", "v")]
    parts += [(0, "f", "w", ""), (0, "", "f", "w"), (-1, "f", "", "w"), (2**200, "f", "", "w"), (0, "f", "", "ü")]
    assert len({random.key(*each) for each in parts}) == len(parts)
    assert all(0 <= random.key(*each) < 2**128 for each in parts)


@pytest.mark.parametrize("name", MAKERS)
def test_no_split_changes_a_bit(name):
    make = MAKERS[name]
    whole = make(KEY, 0, 40_000)
    for start, stop in [(0, 1), (1, 2), (3, 40), (7, 8), (8, 9), (16_383, 16_386), (12_345, 39_999), (9, 9)]:
        np.testing.assert_array_equal(make(KEY, start, stop), whole[start:stop])
    cuts = np.sort(np.random.default_rng(0).integers(0, 40_000, 30))
    edges = [0, *cuts.tolist(), 40_000]
    pieces = [make(KEY, a, b) for a, b in itertools.pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


def test_threads_do_not_disturb_each_other():
    keys = [random.key(seed, "f", "", "w") for seed in range(8)]
    alone = [random.gaussian(each, 0, 50_000, "float32") for each in keys]
    with ThreadPoolExecutor(4) as pool:
        together = pool.map(lambda each: random.gaussian(each, 0, 50_000, "float32"), keys)
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make", [random.uniform, random.rademacher, random.gaussian])
def test_writes_into_a_given_array(make, dtype):
    out = np.empty(1001, dtype)
    assert make(KEY, 5, 1006, dtype, out) is out
    np.testing.assert_array_equal(out, make(KEY, 5, 1006, dtype))
    assert make(KEY, 5, 1006, dtype).dtype == dtype


def test_masks_nest_and_are_uniform_numbers_below_p():
    u = random.uniform(KEY, 0, N, "float64")
    smaller = random.bernoulli(KEY, 0, N, 0.1)
    for p in (0.1, 0.35, 0.9):
        mask = random.bernoulli(KEY, 0, N, p)
        np.testing.assert_array_equal(mask, u < p)
        assert not (smaller & ~mask).any()
        assert abs(mask.mean() - p) < 4 * math.sqrt(p * (1 - p) / N)
        smaller = mask


def test_certain_probabilities_are_certain():
    assert random.bernoulli(KEY, 0, N, 1).all()
    assert not random.bernoulli(KEY, 0, N, 0).any()
    every = random.bernoulli(KEY, 3, 3 + 4000, np.tile(np.array([0, 1], "float32"), 2000))
    np.testing.assert_array_equal(every, np.tile([False, True], 2000))


def test_each_element_may_have_a_probability_of_its_own():
    p = np.linspace(0, 1, N)
    mask = random.bernoulli(KEY, 0, N, p)
    np.testing.assert_array_equal(mask, random.uniform(KEY, 0, N, "float64") < p)


def test_uniform_stays_below_one():
    worst = np.float32((2**32 - 1) / 2**32)
    assert worst == 1  # what plain rounding would give
    u = random.uniform(KEY, 0, N, "float32")
    assert u.max() < 1
    assert u.min() >= 0
    np.testing.assert_array_equal(u, np.floor(random.uniform(KEY, 0, N, "float64") * 2**24) / 2**24)


def test_normals_are_box_and_mullers_transform_by_the_math_library():
    word = random.words(KEY, 0, N).astype("float64")
    radius = np.sqrt(-2 * np.log((word[0::2] + 0.5) / 2**32))
    signed = random.words(KEY, 0, N)[1::2].view(np.int32) + 0.5
    angle = np.pi * (np.abs(signed) / 2**31 - 0.5)
    z = random.gaussian(KEY, 0, N, "float64")
    np.testing.assert_allclose(z[0::2], np.sign(signed) * radius * np.cos(angle), rtol=0, atol=2**-32)
    np.testing.assert_allclose(z[1::2], np.sign(signed) * radius * np.sin(angle), rtol=0, atol=2**-32)
    np.testing.assert_array_equal(random.gaussian(KEY, 0, N, "float32"), z.astype("float32"))


def test_the_extreme_words_give_finite_normals():
    first = np.array([0, 0, 2**32 - 1, 2**32 - 1, 2**31, 2**31 - 1] * 2, np.uint32)
    second = np.roll(first, 3)
    out = np.empty(2 * first.size)
    normal.normals(np.column_stack([first, second]).reshape(-1), out)
    expected = np.repeat(np.sqrt(-2 * np.log((first + 0.5) / 2**32)), 2)
    np.testing.assert_allclose(np.hypot(out[0::2], out[1::2]), expected[::2], rtol=0, atol=1e-10)
    assert 6.6 < np.abs(expected).max() < 6.77


def kolmogorov_smirnov(z):
    """sqrt(n) times the largest distance between the distribution of z and the normal one."""
    ordered = np.sort(z)
    cdf = np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in ordered])
    place = np.arange(z.size) / z.size
    return math.sqrt(z.size) * max((cdf - place).max(), (place + 1 / z.size - cdf).max())


def scores(z):
    """Standard scores of the first four moments."""
    n = z.size
    return [
        z.mean() * math.sqrt(n),
        ((z**2).mean() - 1) * math.sqrt(n / 2),
        (z**3).mean() * math.sqrt(n / 15),
        ((z**4).mean() - 3) * math.sqrt(n / 96),
    ]


@pytest.mark.parametrize("tensor", ["layer.0.weight", "layer.1.weight", "b"])
def test_normals_are_normal(tensor):
    z = random.gaussian(random.key(3, "gaussian", "", tensor), 0, N, "float64")
    assert np.abs(scores(z)).max() < 4
    assert kolmogorov_smirnov(z[: N // 4]) < 1.63  # 1 in 100
    for tail in (3, 4):
        expected = N * math.erfc(tail / math.sqrt(2))
        assert abs((np.abs(z) > tail).sum() - expected) < 4 * math.sqrt(expected)


def test_the_statistics_would_notice_a_wrong_distribution():
    u = random.uniform(KEY, 0, N, "float64")
    assert np.abs(scores((u - 0.5) * math.sqrt(12))).max() > 100
    assert kolmogorov_smirnov((u[: N // 4] - 0.5) * math.sqrt(12)) > 10


def test_streams_and_neighbours_are_uncorrelated():
    z = random.gaussian(KEY, 0, N, "float64")
    others = [random.gaussian(random.key(8, "gaussian", "", "layer.0.weight"), 0, N, "float64")]
    others += [random.gaussian(random.key(7, "gaussian", "", "layer.1.weight"), 0, N, "float64")]
    others += [random.gaussian(random.key(7, "gaussian", "b", "layer.0.weight"), 0, N, "float64")]
    others += [np.roll(z, lag) for lag in (1, 2, 8, 65_536)]
    for other in others:
        assert abs(z @ other) / math.sqrt(N) < 4
        assert abs((z**2 - 1) @ (other**2 - 1)) / math.sqrt(4 * N) < 4


def test_signs_are_fair_and_uncorrelated():
    sign = random.rademacher(KEY, 0, N, "float64")
    assert set(np.unique(sign)) == {-1, 1}
    assert abs(sign.sum()) / math.sqrt(N) < 4
    assert abs(sign @ np.roll(sign, 1)) / math.sqrt(N) < 4


@pytest.mark.parametrize("p", [0.0, -1.0, float("nan"), 1.0, 2.0, float("inf"), 2.0**-32, 1 - 2.0**-33])
def test_a_mask_with_one_probability_is_that_with_many(p):
    alone, each = random.bernoulli(KEY, 3, 5003, p), random.bernoulli(KEY, 3, 5003, np.full(5000, p))
    np.testing.assert_array_equal(alone, each)
