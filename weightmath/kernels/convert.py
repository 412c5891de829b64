"""Between the bits of a stored element and the compute dtype, rounding to nearest even.

float32 and float64 are numpy's own. Half precision goes through torch, 12 to 37 times faster than numpy here; torch is
imported at the first such conversion, so that work on float32 alone does without it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from weightmath.dtypes import DType

_thread = threading.local()


def _torch() -> Any:
    import torch

    if not hasattr(_thread, "quiet"):
        # Its own threads would fight with ours over the cores; the setting holds for the calling thread.
        torch.set_num_threads(1)
        _thread.quiet = True
    return torch


def make_ready(dtypes: Iterable[DType]) -> None:
    """Import torch if converting one of these needs it."""
    if any(map(uses_torch, dtypes)):
        _torch()


def uses_torch(dtype: DType) -> bool:
    """Whether converting this dtype needs torch."""
    return dtype.is_float and dtype.name not in ("float32", "float64")


def decode(bits: np.ndarray, dtype: DType, out: np.ndarray) -> None:
    """Stored floats, integers or truth values (1-D, raw bits) as numbers of `out`'s dtype (1-D, float32 or float64)."""
    decoder(bits, dtype, out)()


def decoder(bits: np.ndarray, dtype: DType, out: np.ndarray) -> Callable[[], object]:
    """What decodes whatever these bits are when it is called, by the thread that made it."""
    if uses_torch(dtype):
        torch = _torch()
        return partial(torch.from_numpy(out).copy_, _tensor(torch, bits, dtype))
    return partial(np.copyto, out, bits, casting="same_kind")


def encode(numbers: np.ndarray, dtype: DType, out: np.ndarray) -> None:
    """Numbers (1-D) as stored elements (raw bits), rounded once to nearest even; too large becomes infinite or NaN."""
    encoder(numbers, dtype, out)()


def encoder(numbers: np.ndarray, dtype: DType, out: np.ndarray) -> Callable[[], object]:
    """What encodes whatever these numbers are when it is called, by the thread that made it."""
    if uses_torch(dtype):
        torch = _torch()
        return partial(_tensor(torch, out, dtype).copy_, torch.from_numpy(numbers))
    return partial(np.copyto, out, numbers, casting="same_kind")


def _tensor(torch: Any, bits: np.ndarray, dtype: DType) -> Any:
    if dtype.bits.kind == "f":  # numpy has the type too, if slowly
        return torch.from_numpy(bits)
    holder = torch.from_numpy(bits.view(np.int16 if dtype.itemsize == 2 else np.uint8))
    return holder.view(getattr(torch, dtype.name))


def nonfinite(bits: np.ndarray, dtype: DType) -> int:
    """How many stored elements (1-D, raw bits) are NaN or infinite."""
    sign, exponent, mantissa = _fields(dtype)
    # float8_e4m3fn has no infinities: of the numbers with the largest exponent only the last is NaN.
    least = exponent | mantissa if dtype.name == "float8_e4m3fn" else exponent
    whole, signed = bits.view(f"u{dtype.itemsize}"), bits.view(f"i{dtype.itemsize}")
    # Bits of one sign are in the order of magnitude, so that two maxima screen all; counting is for the rare chunk.
    if whole.size == 0 or (signed.max() < least and whole.max() < (sign | least)):
        return 0
    return int(np.count_nonzero((whole & (sign - 1)) >= least))


_MANTISSA_BITS = {"float64": 52, "float32": 23, "float16": 10, "bfloat16": 7, "float8_e5m2": 2, "float8_e4m3fn": 3}


def carry_nans(bits: np.ndarray, dtype: DType, out: np.ndarray, out_dtype: DType) -> None:
    """Give the NaNs among `bits` (1-D) their sign and payload in `out`, a conversion of them.

    Conversions by the processor or torch make NaNs quiet or all alike; who promises every bit calls this after them. A
    payload that is wider than the target's loses its lowest bits.
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
