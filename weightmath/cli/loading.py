"""What a command imports is no garbage: Python need not search it for some, neither while it is loaded nor later."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from weightmath.paused import paused_collection


@contextmanager
def loading() -> Iterator[None]:
    """Around imports of whole stages: pauses the cyclic garbage collector, and takes what there is then out of its way.

    Measured: `plan` of a large model takes a sixth less of the processor's time. For commands alone, whose process is
    ours; a program that uses the library decides that for itself.
    """
    with paused_collection():
        try:
            yield
        finally:
            if not gc.get_freeze_count():  # where commands follow each other in a process, as in tests, garbage goes
                gc.freeze()
