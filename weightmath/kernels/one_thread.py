"""Linear algebra on one thread: the bits of a singular value decomposition depend on how many threads share it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

_lock = threading.Lock()
_inside: list[Sequence[int]] = []  # for each thread that is inside, what the first of them found


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
    with _lock:
        _inside.append(_inside[0] if _inside else [library.num_threads for library in _libraries()])
        _set([1] * len(_libraries()))
    try:
        yield
    finally:
        with _lock:
            found = _inside.pop()
            if not _inside:
                _set(found)
