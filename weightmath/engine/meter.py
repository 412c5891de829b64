"""Progress: the bytes that threads report, added up, and told beside how many there will be."""

from __future__ import annotations

from collections.abc import Callable

Told = Callable[[int, int], None]  # bytes done, bytes in all


class Meter:
    """Tells a sum; any thread may call it. Sums that threads write at one time may miss a few bytes."""

    def __init__(self, total: int, told: Told) -> None:
        self._total, self._told, self._done = total, told, 0

    def __call__(self, nbytes: int) -> None:
        """Add bytes that are done."""
        self._done += nbytes
        self._told(self._done, self._total)
