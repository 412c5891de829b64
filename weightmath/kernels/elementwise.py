"""Elementwise operations on registers: `weightmath.algebra.formulas`, written to reuse memory.

Each kernel is called as kernel(out, *operands): `out` and element operands are C-contiguous arrays (rows, columns) of
the compute dtype, the others Python floats or (rows, 1) arrays of it. `IN_PLACE` names those whose out may be an
operand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from weightmath.algebra.formulas import COMPARE, UFUNCS
from weightmath.kernels.scratch import borrow

Kernel = Callable[..., None]
# Not sign: numpy takes its scalar loop where input and output are one, twenty times slower.
IN_PLACE = frozenset({*UFUNCS, *COMPARE, "inverse"}) - {"sign"}


def _ufunc(ufunc: np.ufunc) -> Kernel:
    def kernel(out: np.ndarray, *operands: Any) -> None:
        ufunc(*operands, out=out)

    return kernel


def _compare(ufunc: np.ufunc) -> Kernel:
    def kernel(out: np.ndarray, a: Any, b: Any) -> None:
        truth = borrow("elementwise.truth", out.shape, bool)
        ufunc(a, b, out=truth)
        np.copyto(out, truth)

    return kernel


def _inverse(out: np.ndarray, mask: Any) -> None:
    np.subtract(1.0, mask, out=out)


def _in_float64(function: Callable[[Any, Any], Any]) -> Kernel:
    """In float64 and rounded once: float32 versions of exp, log and tanh differ between processors."""

    def kernel(out: np.ndarray, x: Any) -> None:
        wide = borrow("elementwise.wide", out.shape, np.float64)
        np.copyto(wide, x)
        function(wide, wide)
        np.copyto(out, wide, casting="same_kind")

    return kernel


def _power(out: np.ndarray, base: Any, exponent: float) -> None:
    if exponent == 2:
        np.multiply(base, base, out=out)
    elif exponent == 0.5:
        np.sqrt(base, out=out)
    else:
        _in_float64(lambda x, wide: np.float_power(x, exponent, out=wide))(out, base)


def _where(out: np.ndarray, mask: Any, a: Any, b: Any) -> None:
    """A blend of bits, b ^ ((a ^ b) & m): right for NaN, and several times faster than a masked copy."""
    integer = np.dtype(f"i{out.itemsize}")
    chosen = borrow("elementwise.chosen", out.shape, integer)
    np.copyto(chosen, np.broadcast_to(mask, out.shape), casting="unsafe")
    np.negative(chosen, out=chosen)
    left, right = _bits(a, out), _bits(b, out)
    blend = borrow("elementwise.blend", out.shape, integer)
    np.bitwise_xor(left, right, out=blend)
    np.bitwise_and(blend, chosen, out=blend)
    np.bitwise_xor(blend, right, out=out.view(integer))


def _bits(x: Any, like: np.ndarray) -> Any:
    integer = np.dtype(f"i{like.itemsize}")
    return np.asarray(x, dtype=like.dtype).view(integer)


def _median(out: np.ndarray, *values: Any) -> None:
    stacked = borrow("elementwise.median", (len(values), *out.shape), out.dtype)
    for layer, value in zip(stacked, values, strict=True):
        np.copyto(layer, value)
    np.median(stacked, axis=0, out=out, overwrite_input=True)


def select(out: np.ndarray, x: np.ndarray, mask: np.ndarray) -> None:
    """x where the bool mask is true, 0 elsewhere (also for NaN and infinities)."""
    integer = np.dtype(f"i{out.itemsize}")
    factor = borrow("elementwise.factor", out.shape, integer)
    np.copyto(factor, mask)
    np.multiply(x.view(integer), factor, out=out.view(integer))


KERNELS: dict[str, Kernel] = {
    **{name: _ufunc(ufunc) for name, ufunc in UFUNCS.items()},
    **{name: _compare(ufunc) for name, ufunc in COMPARE.items()},
    "inverse": _inverse,
    "power": _power,
    "exp": _in_float64(lambda x, out: np.exp(x, out=out)),
    "log": _in_float64(lambda x, out: np.log(x, out=out)),
    "tanh": _in_float64(lambda x, out: np.tanh(x, out=out)),
    "where": _where,
    "median": _median,
}
