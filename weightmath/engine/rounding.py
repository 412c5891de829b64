"""A chunk's values as an output stores them, beside its template's: rounded once, screened, and compared bit by bit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from weightmath.dtypes import DType
from weightmath.engine.frame import Call, Raw
from weightmath.kernels import convert, fixed_loops
from weightmath.kernels.scratch import borrow


class Rounded(NamedTuple):
    """Values, how they are stored once `calls` were made, their template, and where the bits of both differ.

    is_nonfinite   tells, after them, whether any is stored as NaN or infinity
    """

    values: np.ndarray
    raw: Raw
    template: Raw | None
    differ: np.ndarray | None
    calls: tuple[Call, ...]
    is_nonfinite: Callable[[], bool]


def round_to(values: np.ndarray, dtype: DType, template: Raw | None) -> Rounded:
    """Values in a dtype beside their template, in memory that is valid until others are rounded."""
    calls: list[Call] = []
    bits = values
    if not (dtype.is_native and dtype.bits == values.dtype):
        bits = borrow("rounding.out", values.shape, dtype.bits)
        calls.append(convert.encoder(values, dtype, bits))
    is_nonfinite = convert.screen(bits, dtype)
    if template is None:
        return Rounded(values, Raw(dtype, bits), None, None, tuple(calls), is_nonfinite)
    other = template.bits
    if template.dtype != dtype:
        numbers = borrow("rounding.numbers", values.shape, values.dtype)
        other = borrow("rounding.before", values.shape, dtype.bits)
        calls.append(convert.decoder(template.bits, template.dtype, numbers))
        calls.append(convert.encoder(numbers, dtype, other))
    whole = np.dtype(f"u{dtype.itemsize}")
    differ = borrow("rounding.differ", values.shape, bool)
    calls.append(partial(np.not_equal, bits.view(whole), other.view(whole), out=differ))
    return Rounded(values, Raw(dtype, bits), template, differ, tuple(calls), is_nonfinite)


def round_in_loop(values: np.ndarray, dtype: DType, template: Raw | None) -> Rounded:
    """The same by one loop of machine code, where there is one for these dtypes."""
    if values.dtype != np.float32 or dtype.name not in fixed_loops.ROUNDED or (template and template.dtype != dtype):
        return round_to(values, dtype, template)
    bits = values if dtype.bits == values.dtype else borrow("rounding.out", values.shape, dtype.bits)
    differ = None if template is None else borrow("rounding.differ", values.shape, bool)
    look = fixed_loops.bound_rounding(values, dtype.name, bits, template and template.bits, differ)
    found = [False]

    def call() -> None:
        found[0] = bool(look())

    return Rounded(values, Raw(dtype, bits), template, differ, (call,), lambda: found[0])


def numbers_of(raw: Raw, dtype: np.dtype) -> np.ndarray:
    """Stored elements as numbers of a dtype. Valid until the next call."""
    numbers = borrow("rounding.numbers", raw.bits.shape, dtype)
    convert.decode(raw.bits, raw.dtype, numbers)
    return numbers
