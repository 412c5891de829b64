"""Reused work arrays, one set per thread: fresh arrays of 256 KB and more cost page faults at every call."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import numpy.typing as npt


class _Memory(threading.local):
    def __init__(self) -> None:
        self.slots: dict[str, np.ndarray] = {}
        self.views: dict[Any, np.ndarray] = {}


_mine = _Memory()


def borrow(slot: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> np.ndarray:
    """An uninitialised C-contiguous array of that shape and dtype, in memory that this thread keeps for `slot`.

    It begins at a multiple of 64 bytes. Valid until the same thread borrows the same slot again, so a slot is named
    after the one function that fills it (`"reduce.x"`), and nothing that leaves that function may live in it.
    """
    views = _mine.views
    key = slot, shape, dtype
    found = views.get(key)
    if found is None:
        found = views[key] = _view(slot, shape, np.dtype(dtype), views)
    return found


_LINE = 64  # bytes of a line of the processor's cache: a vector that lies across two is read twice
_MOST_VIEWS = 500  # a view is made in microseconds, which count for small chunks: those of one shape share it


def _view(slot: str, shape: tuple[int, ...], dtype: np.dtype, views: dict[Any, np.ndarray]) -> np.ndarray:
    slots = _mine.slots
    nbytes = math.prod(shape) * dtype.itemsize
    held = slots.get(slot)
    if held is None or held.nbytes < nbytes:
        # Twice as much at least: who keeps views of what was outgrown keeps no more than there is now.
        held = slots[slot] = _aligned(max(nbytes, 2 * held.nbytes if held is not None else 0))
        for key in [key for key in views if key[0] == slot]:  # of memory that is given up
            del views[key]
    elif len(views) >= _MOST_VIEWS:
        views.clear()
    return held[:nbytes].view(dtype).reshape(shape)


def _aligned(nbytes: int) -> np.ndarray:
    memory = np.empty(nbytes + _LINE, np.uint8)
    first = -memory.ctypes.data % _LINE
    return memory[first : first + nbytes]
