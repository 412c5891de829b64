"""Numbers that numpy wrote: a metric that is a `np.float64` is a call in the pickle, which is read here, not made."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from weightmath.checkpoint.nodes import Call, Tuple, Value

_SCALARS = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
_CODE = re.compile(r"[fiu][1248]|b1")


def numpy_number(call: Call) -> float | int | bool | None:
    """The number that a call of numpy's `scalar(dtype, bytes)` stands for, or None for any other call."""
    is_plain = not (call.states or call.pairs or call.items)
    parts = _arguments(call, _SCALARS, 2) if is_plain else None
    if parts is None:
        return None
    dtype, data = _dtype(parts[0]), _bytes(parts[1])
    if dtype is None or data is None or len(data) != dtype.itemsize:
        return None
    number: float | int | bool = np.frombuffer(data, dtype)[0].item()
    return number


def _arguments(value: Value, functions: Sequence[str], least: int) -> list[Value] | None:
    """The arguments of a call of one of these functions, if it has at least that many."""
    if not isinstance(value, Call) or not isinstance(value.arguments, Tuple) or str(value.function) not in functions:
        return None
    return value.arguments.items if len(value.arguments.items) >= least else None


def _dtype(value: Value) -> np.dtype | None:
    """What `numpy.dtype("f8", ...)` is, with the byte order that its state says."""
    parts = _arguments(value, ("numpy.dtype",), 1)
    code = parts[0] if parts else None
    if not isinstance(value, Call) or not isinstance(code, str) or not _CODE.fullmatch(code):
        return None
    state = value.states[0] if value.states else None
    big = isinstance(state, Tuple) and state.items[1:2] == [">"]
    try:
        return np.dtype((">" if big else "<") + code)
    except TypeError:  # f1 and the like
        return None


def _bytes(value: Value) -> bytes | None:
    """Bytes, which protocols before 3 write as `_codecs.encode(text, "latin1")`."""
    if isinstance(value, bytes):
        return value
    parts = _arguments(value, ("_codecs.encode",), 1)
    text = parts[0] if parts else None
    try:
        return text.encode("latin1") if isinstance(text, str) else None
    except UnicodeEncodeError:
        return None
