"""Linear algebra on one thread: the bits of a singular value decomposition depend on how many threads share it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

_lock = threading.Lock()
_held: list[Any] = []  # one limit for all threads that are inside, since the library has one setting for all


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it numpy's linear algebra library (OpenBLAS, MKL, BLIS) uses no threads of its own.

    May be entered by several threads at once; the last to leave restores what the first found. The setting is the
    process's, so that it holds for other threads' calls meanwhile. Apple's Accelerate has no such setting.
    """
    with _lock:
        limit = _held[0] if _held else _libraries().limit(limits=1, user_api="blas")
        _held.append(limit)
    try:
        yield
    finally:
        with _lock:
            _held.pop()
            if not _held:
                limit.restore_original_limits()
