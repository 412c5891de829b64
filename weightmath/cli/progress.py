"""A progress bar on stderr: bytes and rate, or points, and the time left. Only on a terminal, where someone looks."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from weightmath.engine.meter import Told, silent

_SECONDS_BETWEEN = 0.1


@contextmanager
def progress_bar(what: str, *, wanted: bool = True, points: bool = False) -> Iterator[Told]:
    """While the context lasts, show what the yielded function is told: bytes done, bytes in all; from any thread.

    points   what is counted is no bytes
    """
    if not wanted or not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    counted = (MofNCompleteColumn(),) if points else (DownloadColumn(), TransferSpeedColumn())
    with Progress(
        TextColumn(what, markup=False),
        BarColumn(),
        *counted,
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task(what, total=None)
        next_look = 0.0

        def told(done: int, total: int) -> None:
            # Small tensors report by the thousand, and an update of the bar costs more than their arithmetic.
            nonlocal next_look
            now = time.monotonic()
            if now >= next_look:
                next_look = now + _SECONDS_BETWEEN
                bar.update(task, completed=min(done, total), total=total)

        yield told
