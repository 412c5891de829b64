"""Numbers of the types that numpy has not, bfloat16 and float8, by numpy alone; rounding is to nearest, ties to even.

Libraries disagree about numbers that are too large for float8: some saturate. Here they become infinite, or NaN in
float8_e4m3fn, which has no infinities, so that they are noticed.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from weightmath.kernels.scratch import borrow

Array = np.ndarray[Any, np.dtype[Any]]

FLOAT8 = {"float8_e4m3fn": (4, 3, 7), "float8_e5m2": (5, 2, 15)}  # exponent bits, mantissa bits, bias
_LOW = np.uint32(16)  # bits of a float32 that a bfloat16 has not


def round_to_odd(numbers: Array, out: Array) -> None:
    """float64 as float32 from which a narrower type is rounded as if from the float64 itself.

    What is inexact goes to the neighbour whose last bit is set, so that it never looks like a middle between two
    numbers of the narrower type, nor like one of them.
    """
    np.copyto(out, numbers, casting="same_kind")
    whole = out.view(np.uint32)
    inexact = out != numbers
    whole -= inexact & (np.abs(out) > np.abs(numbers))  # the neighbour towards 0; of infinity the largest number
    whole |= inexact & ~np.isnan(numbers)


def to_bfloat16(numbers: Array) -> Array:
    """float32 as the bits of bfloat16."""
    whole = numbers.view(np.uint32)
    half = np.uint32(0x7FFF) + ((whole >> _LOW) & np.uint32(1))
    rounded = ((whole + half) >> _LOW).astype(np.uint16)
    keep_nans(numbers, rounded)
    return rounded


def keep_nans(numbers: Array, rounded: Array) -> None:
    """Put right what rounding has made of NaNs among float32: their payload was rounded too, into the sign or to 0."""
    if np.isnan(numbers.max(initial=0)):
        nan = np.flatnonzero(np.isnan(numbers))
        rounded[nan] = (numbers.view(np.uint32)[nan] >> _LOW).astype(np.uint16) | np.uint16(0x40)


@cache
def float8_numbers(name: str, dtype: np.dtype[Any]) -> Array:
    """The number of each of the 256 bytes."""
    exponents, mantissas, bias = FLOAT8[name]
    code = np.arange(256)
    exponent, mantissa = (code >> mantissas) & ((1 << exponents) - 1), code & ((1 << mantissas) - 1)
    fraction = mantissa / (1 << mantissas)
    size = np.where(exponent == 0, fraction * 2.0 ** (1 - bias), (1 + fraction) * 2.0 ** (exponent - float(bias)))
    if name == "float8_e5m2":
        size = np.where(exponent == 31, np.where(mantissa == 0, np.inf, np.nan), size)
    else:
        size = np.where((code & 0x7F) == 0x7F, np.nan, size)
    return np.where(code & 0x80, -size, size).astype(dtype)


def to_float8(numbers: Array, name: str, out: Array) -> None:
    """float32 as the bits of a float8.

    By the first 16 bits of each, of which the last is set where any later one is (it is rounded to odd): they have four
    bits more than a float8, and two suffice to tell on which side of the middle between two bytes a number lies.
    """
    code = borrow("narrow.code", numbers.shape, np.uint32)
    whole = numbers.view(np.uint32)
    np.bitwise_and(whole, np.uint32(0xFFFF), out=code)
    np.minimum(code, np.uint32(1), out=code)
    code |= whole >> _LOW
    np.take(_nearest_float8(name), code, out=out, mode="clip")


@cache
def _nearest_float8(name: str) -> Array:
    """The byte that each bfloat16 rounds to."""
    with np.errstate(invalid="ignore"):  # signalling NaNs become quiet
        sizes = (np.arange(1 << 15, dtype=np.uint32) << _LOW).view(np.float32).astype(np.float64)
    table = float8_numbers(name, np.dtype(np.float64))[:128]
    largest = int(np.flatnonzero(np.isfinite(table))[-1])
    nan = 0x7F if name == "float8_e4m3fn" else 0x7E
    beyond = 0x7F if name == "float8_e4m3fn" else 0x7C
    above = np.searchsorted(table[: largest + 1], sizes).clip(1, largest)
    below = above - 1
    middle = (table[below] + table[above]) / 2
    up = (sizes > middle) | ((sizes == middle) & (above % 2 == 0))
    found = np.where(up, above, below).astype(np.uint8)
    limit = table[largest] + (table[largest] - table[largest - 1]) / 2
    # The largest number of e5m2 has an odd last bit: half a step beyond it rounds to even, which is infinity.
    found[(sizes > limit) | ((sizes == limit) & bool(largest % 2))] = beyond
    found[np.isnan(sizes)] = nan
    return np.concatenate([found, found | np.uint8(0x80)])
