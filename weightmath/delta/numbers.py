"""Stored floats as numbers and back, by numpy alone: the same bits on machines with and without torch.

Rounding is to nearest even. Conversions are exact where the target is wider.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from weightmath.dtypes import DType

Array = np.ndarray[Any, np.dtype[Any]]

_FLOAT8 = {"float8_e4m3fn": (4, 3, 7), "float8_e5m2": (5, 2, 15)}  # exponent bits, mantissa bits, bias


def decode(bits: Array, dtype: DType) -> Array:
    """Stored floats (raw bits) as float32; as float64 where they are float64."""
    if dtype.name == "bfloat16":
        return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if dtype.name in _FLOAT8:
        return _table(dtype.name)[bits]
    if dtype.name == "float16":
        with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
            return bits.astype(np.float32)
    return bits


def encode(numbers: Array, dtype: DType) -> Array:
    """Numbers as stored floats (raw bits); what is too large becomes infinite, in float8_e4m3fn NaN."""
    if dtype.name == "bfloat16":
        return _to_bfloat16(numbers)
    if dtype.name in _FLOAT8:
        return _to_float8(numbers, dtype.name)
    with np.errstate(over="ignore", invalid="ignore"):
        return numbers.astype(dtype.bits)


def _to_bfloat16(numbers: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        whole = numbers.astype(np.float32).view(np.uint32)
    half = np.uint32(0x7FFF) + ((whole >> np.uint32(16)) & np.uint32(1))
    rounded = ((whole + half) >> np.uint32(16)).astype(np.uint16)
    # Rounding would carry a NaN's payload into its sign.
    nan = np.isnan(numbers)
    if nan.any():
        rounded[nan] = (whole[nan] >> np.uint32(16)).astype(np.uint16) | np.uint16(0x40)
    return rounded


@cache
def _table(name: str) -> Array:
    """The number of each of the 256 bytes."""
    exponents, mantissas, bias = _FLOAT8[name]
    code = np.arange(256)
    exponent, mantissa = (code >> mantissas) & ((1 << exponents) - 1), code & ((1 << mantissas) - 1)
    fraction = mantissa / (1 << mantissas)
    size = np.where(exponent == 0, fraction * 2.0 ** (1 - bias), (1 + fraction) * 2.0 ** (exponent - float(bias)))
    if name == "float8_e5m2":
        size = np.where(exponent == 31, np.where(mantissa == 0, np.inf, np.nan), size)
    else:
        size = np.where((code & 0x7F) == 0x7F, np.nan, size)
    return np.where(code & 0x80, -size, size).astype(np.float32)


def _to_float8(numbers: Array, name: str) -> Array:
    table = _table(name)[:128].astype(np.float64)
    largest = int(np.flatnonzero(np.isfinite(table))[-1])
    nan = 0x7F if name == "float8_e4m3fn" else 0x7E
    beyond = 0x7F if name == "float8_e4m3fn" else 0x7C
    with np.errstate(invalid="ignore"):
        sizes = np.abs(numbers.astype(np.float64))
    above = np.searchsorted(table[: largest + 1], sizes).clip(1, largest)
    below = above - 1
    middle = (table[below] + table[above]) / 2
    up = (sizes > middle) | ((sizes == middle) & (above % 2 == 0))
    found = np.where(up, above, below).astype(np.uint8)
    limit = table[largest] + (table[largest] - table[largest - 1]) / 2
    found[sizes > limit] = beyond
    # The largest number of e5m2 has an odd last bit: half a step beyond it rounds to even, which is infinity.
    if largest % 2:
        found[sizes == limit] = beyond
    found[np.isnan(numbers)] = nan
    return found | (np.signbit(numbers).astype(np.uint8) << np.uint8(7))
