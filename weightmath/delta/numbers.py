"""Stored floats as numbers and back, by numpy alone: small machines that receive deltas have nothing else.

Rounding is to nearest even. Conversions are exact where the target is wider. `weightmath.kernels.convert` does the same
faster, with the same results but for the payload of a NaN.
"""

from __future__ import annotations

import numpy as np

from weightmath.dtypes import DType
from weightmath.kernels import narrow

_SINGLE = np.dtype(np.float32)


def decode(bits: np.ndarray, dtype: DType) -> np.ndarray:
    """Stored floats (raw bits) as float32; as float64 where they are float64."""
    if dtype.name == "bfloat16":
        return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if dtype.name in narrow.FLOAT8:
        return np.asarray(narrow.float8_numbers(dtype.name, _SINGLE)[bits])
    if dtype.name == "float16":
        with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
            return bits.astype(np.float32)
    return bits


def encode(numbers: np.ndarray, dtype: DType) -> np.ndarray:
    """Numbers as stored floats (raw bits); what is too large becomes infinite, in float8_e4m3fn NaN."""
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype.is_native:
            return numbers.astype(dtype.bits)
        single = numbers
        if numbers.dtype != _SINGLE:
            single = np.empty(numbers.shape, _SINGLE)
            narrow.round_to_odd(numbers, single)
        if dtype.name == "bfloat16":
            return narrow.to_bfloat16(single)
        found = np.empty(numbers.shape, np.uint8)
        narrow.to_float8(single, dtype.name, found)
        return found
