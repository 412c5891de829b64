"""Between the bits of a stored element and the compute dtype: exact where that is wider, else rounded once, to even.

float32 and float64 are numpy's own. Half precision goes through numkong, whose conversions use the processor's: 9 to 16
times as fast as numpy's, and as fast as torch's, which takes 1.2 seconds and 200 MB to import. Its float8 is not used,
as it overflows without a trace, and what it makes of NaNs in bfloat16 is put right. The tests compare what every code
means, and what numbers become in half precision, with torch, and rounding with exact arithmetic: for each of numkong's
ways to convert that the processor has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import numkong
import numpy as np

from weightmath.dtypes import DType
from weightmath.kernels import narrow
from weightmath.kernels.scratch import borrow

Call = Callable[[], object]
_Name = Literal["float16", "bfloat16", "float32"]
_HALVES: Mapping[str, _Name] = {"float16": "float16", "bfloat16": "bfloat16"}


def decode(bits: np.ndarray, dtype: DType, out: np.ndarray) -> None:
    """Stored floats, integers or truth values (1-D, raw bits) as numbers of `out`'s dtype, float32 or float64.

    out    1-D, contiguous
    """
    with np.errstate(invalid="ignore"):  # signalling NaNs become quiet
        decoder(bits, dtype, out)()


def decoded(bits: np.ndarray, dtype: DType) -> np.ndarray:
    """The same as new float64 numbers, in which every stored float is exact."""
    numbers = np.empty(bits.shape)
    decode(bits, dtype, numbers)
    return numbers


def decoder(bits: np.ndarray, dtype: DType, out: np.ndarray) -> Call:
    """What decodes whatever these bits are when it is called, by the thread that made it."""
    if dtype.name in narrow.FLOAT8:
        return partial(np.take, narrow.float8_numbers(dtype.name, out.dtype), bits, out=out, mode="clip")
    half = _HALVES.get(dtype.name)
    if half is None:
        return partial(np.copyto, out, bits, casting="same_kind")
    if out.dtype == np.float32:
        return partial(numkong.astype, _tensor(bits, half), "float32", out=_tensor(out, "float32"))
    single = borrow("convert.single", out.shape, np.float32)
    return _both(decoder(bits, dtype, single), partial(np.copyto, out, single))


def encode(numbers: np.ndarray, dtype: DType, out: np.ndarray) -> None:
    """Numbers as stored elements (raw bits), rounded once to nearest even; too large becomes infinite or NaN.

    numbers, out    1-D, contiguous
    """
    with np.errstate(over="ignore", invalid="ignore"):
        encoder(numbers, dtype, out)()


def encoder(numbers: np.ndarray, dtype: DType, out: np.ndarray) -> Call:
    """What encodes whatever these numbers are when it is called, by the thread that made it."""
    is_single = numbers.dtype == np.float32
    if dtype.is_native and not (is_single and dtype.name == "float16"):
        return partial(np.copyto, out, numbers, casting="same_kind")
    if not is_single:
        odd = borrow("convert.single", numbers.shape, np.float32)
        return _both(partial(narrow.round_to_odd, numbers, odd), encoder(odd, dtype, out))
    if dtype.name in narrow.FLOAT8:
        return partial(narrow.to_float8, numbers, dtype.name, out)
    half = _HALVES[dtype.name]
    cast = partial(numkong.astype, _tensor(numbers, "float32"), half, out=_tensor(out, half))
    return cast if half == "float16" else partial(_to_bfloat16, cast, numbers, out)


def _tensor(array: np.ndarray, name: _Name) -> Any:
    """An array for numkong, which knows types that numpy has not; they share memory."""
    address = array.__array_interface__["data"][0]
    return numkong.from_pointer(address, array.shape, name, strides=array.strides, owner=array)


def _both(first: Call, second: Call) -> Call:
    def call() -> None:
        first()
        second()

    return call


def _to_bfloat16(cast: Call, numbers: np.ndarray, out: np.ndarray) -> None:
    cast()
    narrow.keep_nans(numbers, out)


def nonfinite(bits: np.ndarray, dtype: DType) -> int:
    """How many stored elements (1-D, raw bits) are NaN or infinite."""
    if not screen(bits, dtype)():
        return 0
    sign, _, _ = _fields(dtype)
    return int(np.count_nonzero((bits.view(f"u{dtype.itemsize}") & (sign - 1)) >= _least_nonfinite(dtype)))


def screen(bits: np.ndarray, dtype: DType) -> Callable[[], bool]:
    """What tells whether any of these stored elements (1-D, raw bits) is NaN or infinite when it is called."""
    if not bits.size:
        return lambda: False
    sign, _, _ = _fields(dtype)
    least = _least_nonfinite(dtype)
    whole, signed = bits.view(f"u{dtype.itemsize}"), bits.view(f"i{dtype.itemsize}")
    largest = np.maximum.reduce
    # Bits of one sign are in the order of magnitude, so that two maxima screen all.
    return lambda: bool(largest(signed) >= least or largest(whole) >= (sign | least))


def _least_nonfinite(dtype: DType) -> int:
    """The bits of the smallest positive element that is no finite number."""
    _, exponent, mantissa = _fields(dtype)
    # float8_e4m3fn has no infinities: of the numbers with the largest exponent only the last is NaN.
    return exponent | mantissa if dtype.name == "float8_e4m3fn" else exponent


_MANTISSA_BITS = {"float64": 52, "float32": 23, "float16": 10, "bfloat16": 7, "float8_e5m2": 2, "float8_e4m3fn": 3}


def carry_nans(bits: np.ndarray, dtype: DType, out: np.ndarray, out_dtype: DType) -> None:
    """Give the NaNs among `bits` (1-D) their sign and payload in `out`, a conversion of them.

    Conversions make NaNs quiet or all alike; who promises every bit calls this after them. A payload that is wider than
    the target's loses its lowest bits.
    """
    if not nonfinite(bits, dtype):
        return
    whole, target = bits.view(f"u{dtype.itemsize}"), out.view(f"u{out_dtype.itemsize}")
    sign, exponent, mantissa = _fields(dtype)
    # float8_e4m3fn has no infinities: with its exponent all ones, only the mantissa of all ones is NaN.
    least = mantissa if dtype.name == "float8_e4m3fn" else 1
    at = np.flatnonzero(((whole & exponent) == exponent) & ((whole & mantissa) >= least))
    payload = (whole[at] & mantissa).astype(np.uint64)
    step = _MANTISSA_BITS[out_dtype.name] - _MANTISSA_BITS[dtype.name]
    payload = payload << np.uint64(step) if step >= 0 else payload >> np.uint64(-step)
    out_sign, out_exponent, _ = _fields(out_dtype)
    signs = np.where(whole[at] & sign, np.uint64(out_sign), np.uint64(0))
    target[at] = (signs | np.uint64(out_exponent) | payload).astype(target.dtype)


def _fields(dtype: DType) -> tuple[int, int, int]:
    """Masks of the sign, the exponent and the mantissa."""
    sign = 1 << (8 * dtype.itemsize - 1)
    mantissa = (1 << _MANTISSA_BITS[dtype.name]) - 1
    return sign, sign - 1 - mantissa, mantissa
