"""Linear algebra on one thread: the bits of a singular value decomposition depend on how many threads share it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any


class _Inside:
    """For each thread that is inside, what the first of them found; and the lock for it."""

    def __init__(self) -> None:
        self.start()
        if hasattr(os, "register_at_fork"):
            # The threads that were inside, or held the lock, are not there in a process that was forked.
            os.register_at_fork(after_in_child=self.start)

    def start(self) -> None:
        """With nobody inside."""
        self.lock = threading.Lock()
        self.found: list[Sequence[int]] = []


_inside = _Inside()


@cache
def _libraries() -> Sequence[Any]:
    # Imported when it is used: few recipes need linear algebra.
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return tuple(ThreadpoolController().select(user_api="blas").lib_controllers)


def _set(numbers: Sequence[int]) -> None:
    for library, number in zip(_libraries(), numbers, strict=True):
        if library.num_threads != number:
            # Since 3.8 threadpoolctl ignores, without a word, all threads but the one that set a number first.
            if hasattr(library, "clear_controlling_thread"):
                library.clear_controlling_thread(force=True)
            library.set_num_threads(number)


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it numpy's linear algebra library (OpenBLAS, MKL, BLIS) uses no threads of its own.

    May be entered by several threads at once; the last to leave restores what the first found. The setting is the
    process's, so that it holds for other threads' calls meanwhile. Apple's Accelerate has no such setting.
    """
    with _inside.lock:
        there = _inside.found
        there.append(there[0] if there else [library.num_threads for library in _libraries()])
        _set([1] * len(_libraries()))
    try:
        yield
    finally:
        with _inside.lock:
            found = there.pop()
            if not there:
                _set(found)
