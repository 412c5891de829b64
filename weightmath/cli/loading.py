"""What surrounds the imports of a command that computes: they take longer than most of its work."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from weightmath.paused import paused_collection

_THREADS = "OPENBLAS_NUM_THREADS"


@contextmanager
def loading() -> Iterator[None]:
    """While the context lasts, imports are quick; numpy is imported already.

    Its linear algebra library starts a thread for each processor, which turn idly for a while: 55 ms of two processors.
    What these commands leave to it takes one (see weightmath.kernels.one_thread); whoever has set a number keeps it,
    and programs that a command starts see nothing of this.

    It is imported first because imports nest. Some depths lie where Python's stack of frames takes another 16 KiB from
    the system, and gives it back, for every call; numpy within ours lay there: 20 to 60 ms.
    """
    if "numpy" in sys.modules:  # its threads are there
        with paused_collection():
            yield
        return
    given = os.environ.get(_THREADS)
    os.environ.setdefault(_THREADS, "1")
    try:
        with paused_collection():
            import numpy  # noqa: F401

            yield
    finally:
        if given is None:
            del os.environ[_THREADS]
