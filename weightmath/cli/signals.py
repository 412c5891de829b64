"""SIGTERM, which schedulers send some time before they kill, ends a command as Ctrl-C does: what is done is kept."""

from __future__ import annotations

import signal
from types import FrameType


class TerminatedError(KeyboardInterrupt):
    """Somebody asked this process to end."""


def end_on_sigterm() -> None:
    """From now on SIGTERM raises TerminatedError in the main thread, unless whoever started us chose to ignore it."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _raise)


def _raise(number: int, frame: FrameType | None) -> None:
    raise TerminatedError
