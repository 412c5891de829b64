"""Processes that compute chunks for threads, since Python lets one thread of a process run at a time.

What work on a chunk contributes to a run is plain (see weightmath.engine.traces), so that it may have been done
elsewhere: by a run that was stopped, or by a helper. A helper is forked when a reading of the inputs starts, and has
the plan, the tables and the open files as they are then; it is told which chunk, with what has been worked out of its
tensors since, and answers what the chunk leaves behind. Measured: two threads gain 1.1 times over one where a chunk is
a millisecond's work, a thread and a helper 1.6 times, two helpers 1.7 times: a thread that computes waits for those of
its process that take in what helpers answer.

Helpers end when their connection does, be it that the run is through, has failed, or was killed.
"""

from __future__ import annotations

import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from weightmath.errors import WeightmathError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

# Elsewhere processes cannot be forked, or not without danger to the libraries that they use.
AVAILABLE = sys.platform == "linux"
_MEMORY = Path("/proc/self/smaps_rollup")
_PATIENCE = 10.0  # seconds; a chunk takes milliseconds
_AHEAD = 2  # requests that a helper has at a time, so that it need not wait for the next


class Helper:
    """A process that answers calls of one function until it is dismissed: of any thread, in the order of the calls."""

    def __init__(self, answer: Callable[[Any], Any], last: Callable[[], Any], others: Sequence[Helper]) -> None:
        import multiprocessing

        context = multiprocessing.get_context("fork")
        self._connection, theirs = context.Pipe()
        # A connection ends when no process holds our end of it: the new process must let go of all of them.
        ours = [self._connection, *(other._connection for other in others)]
        self._process = context.Process(target=_serve, args=(theirs, ours, answer, last), daemon=True)
        with warnings.catch_warnings():
            # Python 3.12 warns of threads, which could hold locks. Those that exist show progress; helpers do not.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        theirs.close()
        self._asking, self._hearing = threading.Lock(), threading.Condition()
        self._asked = self._heard = 0

    def ask(self, request: Any) -> Any:
        """What the function answers; raises what it raised."""
        try:
            with self._asking:
                self._connection.send(request)
                turn = self._asked
                self._asked += 1
            done, answer = self._hear(turn)
        except (EOFError, OSError) as error:
            raise _ended() from error
        if not done:
            raise answer
        return answer

    def _hear(self, turn: int) -> Any:
        with self._hearing:
            self._hearing.wait_for(lambda: self._heard == turn)
        try:
            return self._connection.recv()
        finally:
            with self._hearing:
                self._heard += 1
                self._hearing.notify_all()

    def dismiss(self) -> tuple[Any, int]:
        """Let it go; returns its last word, and the bytes that it alone held."""
        word, held = self.ask(None)
        return word, held

    def kill(self) -> None:
        """End it at once: whoever waits for its answer gets an error."""
        self._process.kill()

    def close(self) -> None:
        """See to it that it has ended."""
        self._connection.close()
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()


def _serve(
    theirs: Connection, ours: Sequence[Connection], answer: Callable[[Any], Any], last: Callable[[], Any]
) -> None:
    # Ctrl-C reaches all processes of a terminal: the run takes note of it, and ends its helpers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for connection in ours:
        connection.close()
    try:
        while (request := theirs.recv()) is not None:
            theirs.send(_answered(answer, request))
        theirs.send(_answered(lambda _: (last(), _own_bytes()), None))
    except (EOFError, OSError):
        return  # nobody listens any more


def _own_bytes() -> int:
    """Memory that no other process shares: at the end nearly the most that it was, as arrays are used again."""
    try:
        told = _MEMORY.read_text()
    except OSError:  # not every system tells, and a run is none the worse for it
        return 0
    return 1024 * sum(map(int, re.findall(r"Private_\w+:\s*(\d+) kB", told)))


def _is_daemon() -> bool:
    """Whether this is a process, of `multiprocessing.Pool` for one, that must not have children."""
    import multiprocessing

    return multiprocessing.current_process().daemon


def _answered(answer: Callable[[Any], Any], request: Any) -> tuple[bool, Any]:
    try:
        return True, answer(request)
    except Exception as error:  # noqa: BLE001 - raised where it was asked
        return False, error


def _ended() -> WeightmathError:
    return WeightmathError(
        "a process that computes a part of the work has ended before it was done",
        hint="the system may be short of memory; --threads 1 does without such processes",
    )


class Helpers:
    """The helpers of one reading; threads take one from here for as long as they ask it.

    count    how many; with 0, or where processes must not have children, all threads compute by themselves
    threads  how many threads can ask at the same time
    answer   what each answers to a request, in its own process
    last     its last word
    """

    def __init__(self, count: int, answer: Callable[[Any], Any], last: Callable[[], Any]) -> None:
        self._all: list[Helper] = []
        self._free: SimpleQueue[Helper] = SimpleQueue()
        for _ in range(0 if count and _is_daemon() else count):
            helper = Helper(answer, last, self._all)
            self._all.append(helper)
        for helper in self._all * _AHEAD:
            self._free.put(helper)
        self.threads = len(self._all) * _AHEAD
        self.held = 0  # bytes

    def ask(self, request: Any) -> Any:
        """The answer of a helper; None if none is free."""
        try:
            helper = self._free.get_nowait()
        except Empty:
            return None
        try:
            return helper.ask(request)
        finally:
            self._free.put(helper)

    def kill(self) -> None:
        """End all at once: what they are at is not wanted any more, and may take long."""
        for helper in self._all:
            helper.kill()

    def dismiss(self) -> list[Any]:
        """Let all of them go; returns their last words. Then `held` is what they held besides what all share."""
        words = [helper.dismiss() for helper in self._all]
        self.held = sum(held for _, held in words)
        return [word for word, _ in words]

    def __enter__(self) -> Helpers:
        return self

    def __exit__(self, *_: object) -> None:
        for helper in self._all:
            helper.close()
