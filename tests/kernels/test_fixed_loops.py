"""Loops of machine code that are always the same, against the passes that they stand for."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.kernels.test_loops import SIZES, odd_numbers
from weightmath.dtypes import DTYPES
from weightmath.kernels import convert, fixed_loops, normal, random
from weightmath.kernels.bracket import Bracket, Cut, keep_tile, mask_tile, tally, tally_magnitudes, trivial_cut
from weightmath.kernels.elementwise import select
from weightmath.kernels.select import key_dtype, magnitude_keys


def near_halves(stored: str) -> np.ndarray:
    """float32 numbers that are halves, in the middle of two, and just beside; and random bits, NaNs among them."""
    halves = np.empty(1 << 16, np.float32)
    convert.decode(np.arange(1 << 16, dtype=np.uint16).view(DTYPES[stored].bits), DTYPES[stored], halves)
    some = np.random.default_rng(0).integers(0, 1 << 32, 1 << 16, dtype=np.uint32).view(np.float32)
    middles = (halves[:-1].astype(np.float64) + halves[1:]).astype(np.float32) / 2
    return np.concatenate([halves, some, middles, np.nextafter(middles, np.float32(np.inf)), [np.nan, np.inf, 65520]])


@pytest.mark.parametrize("stored", sorted(fixed_loops.ROUNDED))
def test_rounding_beside_a_template(stored: str) -> None:
    with np.errstate(all="ignore"):
        numbers = near_halves(stored if stored != "float32" else "bfloat16").astype(np.float32)
    dtype = DTYPES[stored]
    expected = np.empty(numbers.shape, dtype.bits)
    convert.encode(numbers, dtype, expected)
    other = expected.copy()
    whole = other.view(f"u{dtype.itemsize}")
    whole[::7] ^= 1
    bits, differ = np.zeros_like(expected), np.zeros(numbers.shape, bool)
    target = numbers if stored == "float32" else bits
    assert fixed_loops.bound_rounding(numbers, stored, target, other, differ)()
    assert target.tobytes() == expected.tobytes()
    assert np.array_equal(np.flatnonzero(differ), np.arange(0, len(numbers), 7))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stored", sorted(fixed_loops.ROUNDED))
def test_rounding_tells_of_a_single_nan_or_infinity(stored: str, size: int) -> None:
    numbers = np.random.default_rng(size).standard_normal(size).astype(np.float32)
    bits = numbers if stored == "float32" else np.empty(size, DTYPES[stored].bits)
    look = fixed_loops.bound_rounding(numbers, stored, bits, None, None)
    assert not look()
    for odd in (np.nan, np.inf, -np.inf):
        for place in (0, size // 2, size - 1):
            before, numbers[place] = numbers[place], odd
            assert look()
            numbers[place] = before
    assert not look()


def numbers_with_ties(dtype: str, size: int = 5000) -> np.ndarray:
    some = np.round(np.random.default_rng(0).standard_normal(size) * 20).astype(dtype) / 16
    return np.concatenate([some, odd_numbers(dtype)])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("low", "high"), [(0.5, 1.5), (1.0, 1.0), (0.0, 0.0), (0.0, np.inf), (3.0, np.nan), (1e30, 1e35)]
)
def test_a_tally_of_magnitudes_is_one_of_their_keys(dtype: str, low: float, high: float) -> None:
    values = numbers_with_ties(dtype)
    lo, hi = (int(key) for key in magnitude_keys(np.array([low, high], dtype)))
    expected = tally(Bracket(lo, hi), 7, magnitude_keys(values))
    found = tally_magnitudes(Bracket(lo, hi), 7, values)
    assert (found.tile, found.size, found.below, found.inside) == (7, values.size, expected.below, expected.inside)
    np.testing.assert_array_equal(found.keys, expected.keys)
    np.testing.assert_equal(found.counts, expected.counts)
    assert found.keys.dtype == key_dtype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("at", [0.0, 0.5, 1.0, np.inf, np.nan])
@pytest.mark.parametrize("tile", [3, 4, 5])  # before, at, and after the one with the place of the cut
def test_what_a_cut_keeps_of_a_tile(dtype: str, at: float, tile: int) -> None:
    values = numbers_with_ties(dtype)
    cut = Cut(int(magnitude_keys(np.array([at], dtype))[0]), 4, 1)
    expected, found = np.empty_like(values), np.empty_like(values)
    select(expected, values, mask_tile(magnitude_keys(values), cut, tile, np.empty(values.shape, bool)))
    keep_tile(values, cut, tile, found)
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cuts_that_keep_all_or_nothing(dtype: str) -> None:
    values = numbers_with_ties(dtype)
    found = np.empty_like(values)
    keep_tile(values, trivial_cut(9, 9, key_dtype(dtype)), 0, found)
    assert found.tobytes() == values.tobytes()
    keep_tile(values, trivial_cut(9, 0, key_dtype(dtype)), 0, found)
    assert not found.view(key_dtype(dtype)).any()


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 8), (3, 3), (5, 6), (7, 9), (16, 100), (1001, 70_000)])
@pytest.mark.parametrize("key", [0, 1, 2**64 - 1, 2**64, 2**128 - 1, 0x0123456789ABCDEF0FEDCBA987654321])
def test_random_words_by_loop(key: int, start: int, stop: int) -> None:
    found = random.words(key, start, stop, loops=True)
    np.testing.assert_array_equal(found, random.words(key, start, stop))
    assert found.dtype == np.dtype("<u4")
    block = np.random.Philox(key=key, counter=start // 8).random_raw((stop - start) // 2 + 8).view(np.uint32)
    np.testing.assert_array_equal(found, block[start % 8 :][: stop - start])


def test_random_words_of_a_late_block() -> None:
    start = 8 * (2**63 + 5)
    np.testing.assert_array_equal(random.words(7, start, start + 20, loops=True), random.words(7, start, start + 20))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("start", "stop"), [(0, 2), (3, 3), (0, 1), (5, 6), (7, 1000), (2, 200_000)])
def test_normal_numbers_by_loop(dtype: str, start: int, stop: int) -> None:
    found = random.gaussian(5, start, stop, dtype, loops=True)
    assert found.tobytes() == random.gaussian(5, start, stop, dtype).tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_numbers_of_words_at_the_edges(dtype: str) -> None:
    edges = [0, 1, 2, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 2, 2**32 - 1, 3037000499, 3037000500]
    words = np.array(list(itertools.product(edges, edges)), np.uint32).reshape(-1)
    expected, found = np.empty(words.shape, dtype), np.empty(words.shape, dtype)
    normal.normals(words, expected)
    normal.normals_by_loop(words, found)
    assert found.tobytes() == expected.tobytes()
    assert np.isfinite(found).all()


def test_a_loop_that_several_threads_make_at_once_lives_while_it_runs() -> None:
    """The cache keeps one of those that they make; the others go when they are done."""
    out = [np.empty((50_000, 4), np.uint64) for _ in range(8)]
    for _ in range(5):
        fixed_loops._philox.cache_clear()
        start = threading.Barrier(len(out))

        def fill(rows: np.ndarray, start: threading.Barrier = start) -> None:
            start.wait()
            fixed_loops.fill_with_philox(3, 0, rows)

        with ThreadPoolExecutor(len(out)) as pool:
            list(pool.map(fill, out))
        assert all(np.array_equal(rows, out[0]) for rows in out)


def test_a_process_that_is_forked_while_a_loop_is_made_can_make_loops() -> None:
    """In a process of its own: one thread makes loops all the time, another forks."""
    program = """
import os, threading, time
import numpy as np
from weightmath.kernels import fixed_loops
rows, done = np.empty((10, 4), np.uint64), threading.Event()
def make():
    while not done.is_set():
        fixed_loops._philox.cache_clear()
        fixed_loops.fill_with_philox(3, 0, rows)
        time.sleep(0.001)
thread = threading.Thread(target=make)
thread.start()
codes = []
for _ in range(20):
    child = os.fork()
    if child == 0:
        fixed_loops._philox.cache_clear()
        fixed_loops.fill_with_philox(3, 0, rows)
        os._exit(0)
    codes.append(os.waitpid(child, 0)[1])
done.set()
thread.join()
print(codes)
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.stdout == f"{[0] * 20}\n", ran.stderr
