"""Loops of machine code, against numpy and the conversions that they stand for: all operations, on all odd numbers."""

from __future__ import annotations

import gc
import itertools
import platform
import weakref
from importlib import metadata

import numpy as np
import pytest

from weightmath.algebra.formulas import COMPARE, UFUNCS
from weightmath.dtypes import DTYPES
from weightmath.kernels import convert, loops, machine
from weightmath.kernels.elementwise import KERNELS

TINY = {"float32": 1e-45, "float64": 5e-324}
SIZES = [1, 3, 16, 67, 1000]  # of a vector of the processor, less and more


def odd_numbers(dtype: str) -> np.ndarray:
    """Zeros, infinities, NaN, the smallest and largest, halves, and some at random."""
    least, most = TINY[dtype], float(np.finfo(dtype).max)
    some = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        1.5,
        2.5,
        -2.5,
        np.inf,
        -np.inf,
        np.nan,
        least,
        -least,
        most,
        -most,
        3e-39,
        1 / 3,
    ]
    return np.array([*some, *np.random.default_rng(0).standard_normal(20)], dtype)


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    """Whether all bits are the same, but for those of NaNs."""
    both_nan = np.isnan(left) & np.isnan(right)
    return bool(np.array_equal(left[~both_nan].tobytes(), right[~both_nan].tobytes()))


def test_there_are_loops_where_they_are_tested() -> None:
    assert (machine.compiler() is not None) == (platform.machine() in ("x86_64", "AMD64"))


@pytest.mark.parametrize(
    ("installed", "answer"), [("0.43.0", None), ("0.45.0rc1", "0.45.0rc1"), ("1.0", "1.0"), (None, None)]
)
def test_an_older_llvmlite_is_not_used(
    installed: str | None, answer: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if installed is None:
            raise metadata.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr("numkong.get_capabilities", lambda: {"haswell": True})
    assert machine.compiler.__wrapped__() == answer


def test_every_operation_that_numpy_has_in_one_call_can_be_in_a_loop() -> None:
    assert {*UFUNCS, *COMPARE, "inverse", "where"} == loops.OPERATIONS


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", sorted(loops.OPERATIONS))
def test_operations(op: str, dtype: str) -> None:
    count = UFUNCS[op].nin if op in UFUNCS else {"inverse": 1, "where": 3}.get(op, 2)
    columns = [odd_numbers(dtype)] * count
    if op == "where":
        columns[0] = np.array([0, 1], dtype)
    if op == "either":  # of truth values
        columns = [np.array([0, 1], dtype)] * 2
    operands = [np.array(column, dtype) for column in zip(*itertools.product(*columns), strict=True)]
    expected, found = np.empty_like(operands[0]), np.empty_like(operands[0])
    with np.errstate(all="ignore"):
        KERNELS[op](expected[None], *[operand[None] for operand in operands])
    loop = loops.Loop(dtype, (dtype,) * count, ((op, tuple(range(count))),), (count,))
    loops.bound(loop, operands, [found])()
    assert same_bits(found, expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_many_operations_rounded_one_by_one(dtype: str, size: int) -> None:
    rng = np.random.default_rng(size)
    a, b = rng.standard_normal((2, size)).astype(dtype)
    lines = (("multiply", (0, 2)), ("add", (3, 1)), ("subtract", (4, 0)), ("divide", (5, 4)))
    first, last = np.empty(size, dtype), np.empty(size, dtype)
    call = loops.bound(loops.Loop(dtype, (dtype, dtype, loops.NUMBER), lines, (4, 6)), [a, b, 0.1], [first, last])
    for _ in range(2):  # of what is there when it is called
        a[:] = rng.standard_normal(size)
        call()
        total = a * np.dtype(dtype).type(0.1) + b
        assert same_bits(first, total)
        assert same_bits(last, (total - a) / total)


@pytest.mark.parametrize("wide", ["float32", "float64"])
@pytest.mark.parametrize("stored", ["float16", "bfloat16"])
def test_every_half_is_read_as_its_conversion_has_it(stored: str, wide: str) -> None:
    bits = np.arange(1 << 16, dtype=np.uint16).view(DTYPES[stored].bits)
    expected, found = np.empty(bits.shape, wide), np.empty(bits.shape, wide)
    convert.decode(bits, DTYPES[stored], expected)
    loops.bound(loops.Loop(wide, (stored,), (("negative", (0,)),), (1,)), [bits], [found])()
    assert same_bits(found, -expected)


def test_what_a_loop_works_on_lives_as_long() -> None:
    numbers, found = np.ones(3, np.float32), np.zeros(3, np.float32)
    lives = weakref.ref(numbers)
    call = loops.bound(loops.Loop("float32", ("float32",), (("negative", (0,)),), (1,)), [numbers], [found])
    del numbers
    loops._made.cache_clear()
    gc.collect()
    assert lives() is not None
    call()
    assert found.tolist() == [-1, -1, -1]


@pytest.mark.parametrize("wrong", [np.ones(4, np.float32), np.ones((3, 2), np.float32)[:, 0]], ids=["larger", "apart"])
def test_arrays_that_do_not_fit_are_refused(wrong: np.ndarray) -> None:
    loop = loops.Loop("float32", ("float32",), (("negative", (0,)),), (1,))
    for operand, result in ((wrong, np.ones(3, np.float32)), (np.ones(3, np.float32), wrong)):
        with pytest.raises(AssertionError):
            loops.bound(loop, [operand], [result])
