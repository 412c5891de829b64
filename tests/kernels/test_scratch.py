"""Borrowed memory is reused by its slot and never shared between slots or threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from weightmath.kernels.scratch import borrow


def test_a_slot_is_reused_and_grows():
    first = borrow("test.a", (2, 3), np.float32)
    assert first.shape == (2, 3)
    assert first.dtype == np.float32
    assert first.flags.c_contiguous
    assert np.shares_memory(first, borrow("test.a", (3,), np.float64))
    assert borrow("test.a", (1000,), np.uint64).size == 1000
    assert borrow("test.a", (0, 5), bool).shape == (0, 5)


def test_slots_and_threads_do_not_share():
    here = borrow("test.a", (100,), np.float32)
    assert not np.shares_memory(here, borrow("test.b", (100,), np.float32))
    with ThreadPoolExecutor(1) as pool:
        there = pool.submit(borrow, "test.a", (100,), np.float32).result()
    assert not np.shares_memory(here, there)
