"""Exact differences: from the bits that are expected to those that are there, for every dtype.

    xor     the bits that differ
    step    how many stored values lie between, as an unsigned integer: 0, -1, 1, -2, 2, ... become 0, 1, 2, 3, 4, ...
    plain   the bits themselves, for tensors that the base lacks or that have nothing to do with it

Which is the smallest depends on the tensor, and is measured on a sample of it. Neighbouring floats are neighbouring
integers, so that steps of a small change are small even where it crosses a power of two and XOR turns all bits over.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from weightmath.delta.numbers import decode, encode
from weightmath.delta.planes import expand, squeeze
from weightmath.dtypes import DType
from weightmath.kernels.scratch import borrow
from weightmath.layout import Entry

Way = Literal["step", "xor", "plain"]
WAYS: tuple[Way, ...] = get_args(Way)
_LEAST, _MOST = 1 << 12, 1 << 16  # elements of a sample


def expected(bits: np.ndarray, dtype: DType, wanted: DType, count: int) -> np.ndarray:
    """What a base's elements let one expect of `count` elements in another dtype: its own, converted; then zeros."""
    integers = _integers(wanted)
    count *= wanted.itemsize // integers.itemsize
    if dtype != wanted:
        if not (dtype.is_float and wanted.is_float):
            return np.zeros(count, integers)
        with np.errstate(invalid="ignore"):
            bits = encode(decode(bits, dtype), wanted)
    found = bits.view(integers)[:count]
    return found if len(found) == count else np.concatenate([found, np.zeros(count - len(found), integers)])


def _integers(dtype: DType) -> np.dtype[Any]:
    # numpy has no 16-byte integer; the halves of complex128 are numbers by themselves.
    return np.dtype(f"<u{min(dtype.itemsize, 8)}")


def pack(bits: np.ndarray, known: np.ndarray, way: Way) -> bytes:
    """The elements (raw bits), seen from those that are known."""
    there = bits.view(known.dtype)
    if way == "plain":
        return squeeze(there)
    found = borrow("bits.pack", there.shape, there.dtype)
    if way == "xor":
        np.bitwise_xor(there, known, out=found)
    else:
        np.subtract(there, known, out=found)
        _fold(found)
    return squeeze(found)


def unpack(content: bytes | memoryview, known: np.ndarray, way: Way) -> np.ndarray:
    """The elements that `pack` made bytes of, as unsigned integers."""
    found = expand(content, known.dtype, len(known))
    if way == "xor":
        found ^= known
    elif way == "step":
        _unfold(found)
        found += known
    return found


def sample_of(entry: Entry) -> tuple[int, int]:
    """The elements of a tensor on which ways are tried: a sixteenth of it, from its middle."""
    count = min(entry.size, max(_LEAST, min(_MOST, entry.size // 16)))
    start = (entry.size - count) // 2
    return start, start + count


def best_way(bits: np.ndarray, known: np.ndarray) -> Way:
    """The way that makes the fewest bytes of a sample."""
    return min(WAYS, key=lambda way: len(pack(bits, known, way)))


def _fold(steps: np.ndarray) -> None:
    signs = borrow("bits.fold", steps.shape, f"<i{steps.itemsize}")
    np.right_shift(steps.view(signs.dtype), 8 * steps.itemsize - 1, out=signs)  # all bits, or none
    steps <<= 1
    steps ^= signs.view(steps.dtype)


def _unfold(steps: np.ndarray) -> None:
    signs = steps & 1
    np.negative(signs, out=signs)
    steps >>= 1
    steps ^= signs
