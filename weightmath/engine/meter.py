"""Progress: how much is done, of how much in all; bytes that threads report are added up to it."""

from __future__ import annotations

from collections.abc import Callable

Told = Callable[[int, int], None]  # what is done and what there is in all: bytes, or points


def silent(done: int, total: int) -> None:
    """Nobody is told."""


class Meter:
    """Adds up bytes and tells their sum; any thread may call it. Of what threads add at one time some may be missed."""

    def __init__(self, total: int, told: Told) -> None:
        self._total, self._told, self._done = total, told, 0

    def __call__(self, nbytes: int) -> None:
        """Add bytes that are done."""
        self._done += nbytes
        self._told(self._done, self._total)
