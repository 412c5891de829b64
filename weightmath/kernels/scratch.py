"""Reused work arrays, one set per thread: fresh arrays of 256 KB and more cost page faults at every call."""

from __future__ import annotations

import math
import threading

import numpy as np
import numpy.typing as npt

_thread = threading.local()


def borrow(slot: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> np.ndarray:
    """An uninitialised C-contiguous array of that shape and dtype, in memory that this thread keeps for `slot`.

    Valid until the same thread borrows the same slot again, so a slot is named after the one function that
    fills it (`"reduce.x"`), and nothing that leaves that function may live in it.
    """
    slots: dict[str, np.ndarray] = _thread.__dict__
    wanted = np.dtype(dtype)
    nbytes = math.prod(shape) * wanted.itemsize
    held = slots.get(slot)
    if held is None or held.nbytes < nbytes:
        held = slots[slot] = np.empty(nbytes, np.uint8)
    return held[:nbytes].view(wanted).reshape(shape)
