"""Metrics that are programs: a command for each checkpoint, or workers that stay and answer line by line."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from weightmath.errors import MetricError
from weightmath.lab.numbers import parsed
from weightmath.recipe.metric import PLACE

_TAIL = 8  # last lines of what a program complained of
_TAIL_BYTES = 8 << 10
_GRACE = 2.0  # seconds that a program has to end by itself

Process = subprocess.Popen[str]


class _Started:
    """Programs that run now, so that they can be ended."""

    def __init__(self, command: str, folder: Path) -> None:
        self.command = command
        self._folder = folder
        self._lock = threading.Lock()
        self._running: dict[Process, IO[bytes]] = {}  # and what each complains of
        self._stopped = False

    def start(self, *arguments: str, reads: bool) -> Process:
        """Start the command. MetricError where there is no such program."""
        # Not a pipe, which nobody would read while the program runs.
        complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the program has ended
        with self._lock:
            if self._stopped:
                complaints.close()
                raise MetricError("the evaluation was stopped")
            try:
                process = subprocess.Popen(
                    arguments,
                    cwd=self._folder,
                    stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=complaints,
                    text=True,
                    encoding="utf-8",
                    errors="replace",
                )
            except OSError as error:
                complaints.close()
                fact = f"`{arguments[0]}` cannot be started: {error.strerror}"
                raise MetricError(fact, where=f"metric {self.command}") from None
            self._running[process] = complaints
        return process

    def ended(self, process: Process) -> str:
        """Forget a process that has ended; the last lines of what it complained of."""
        with self._lock:
            complaints = self._running.pop(process)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):  # what it did not read is lost with it
                    stream.close()
        with complaints:
            size = complaints.seek(0, 2)
            complaints.seek(max(0, size - _TAIL_BYTES))
            lines = complaints.read().decode("utf-8", "replace").splitlines()
        return "".join(f"\n  {line}" for line in lines[-_TAIL:])

    def failed(self, fact: str, process: Process, hint: str | None = None) -> MetricError:
        """The error of a process that has ended, or is ended for this."""
        return MetricError(fact + self.end(process), where=f"metric {self.command}", hint=hint)

    def said(self, line: str, process: Process) -> Any:
        """What a line of a process's output says; MetricError, and its end, where that is no number."""
        try:
            return parsed(line)
        except MetricError as error:
            raise self.failed(error.what, process, error.hint) from None

    def end(self, process: Process) -> str:
        """End a process now; the last lines of what it complained of."""
        process.kill()
        process.wait()
        return self.ended(process)

    def stop(self) -> None:
        """End all, and start no more; who waits for one of them is told by its end."""
        with self._lock:
            self._stopped = True
            processes = list(self._running)
        for process in processes:
            process.terminate()
        for process in processes:
            _wait(process)


def _wait(process: Process) -> None:
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Command:
    """A command that is started for each checkpoint."""

    needs_file = True

    def __init__(self, command: str, folder: Path) -> None:
        self._words = words_of(command)
        self._started = _Started(command, folder)

    def __call__(self, state: Any, checkpoint: Path | None) -> Any:
        """What the last line of its output says. MetricError where it fails."""
        words = [word.replace(PLACE, str(checkpoint)) for word in self._words]
        process = self._started.start(*words, reads=False)
        try:
            output, _ = process.communicate()
        except BaseException:
            self._started.end(process)
            raise
        if process.returncode:
            raise self._started.failed(f"ended with exit code {process.returncode}", process)
        lines = [line for line in output.splitlines() if line.strip()]
        found = self._started.said(lines[-1] if lines else "", process)
        self._started.ended(process)
        return found

    def stop(self) -> None:
        """End what runs."""
        self._started.stop()


class Worker:
    """Programs that stay: as many as there are threads that ask at one time."""

    needs_file = True

    def __init__(self, command: str, folder: Path) -> None:
        self._words = words_of(command)
        self._started = _Started(command, folder)
        self._idle: list[Process] = []

    def __call__(self, state: Any, checkpoint: Path | None) -> Any:
        """What a worker's answer says. MetricError where it ends, or answers something else."""
        try:
            process = self._idle.pop()
        except IndexError:
            process = self._started.start(*self._words, reads=True)
        found = self._started.said(self._asked(process, str(checkpoint)), process)
        self._idle.append(process)
        return found

    def _asked(self, process: Process, path: str) -> str:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(path + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except (OSError, ValueError):  # it has closed its input, or was ended
            answer = ""
        except BaseException:
            self._started.end(process)
            raise
        if not answer:
            raise self._started.failed("the worker ended without an answer", process)
        return answer

    def stop(self) -> None:
        """End the workers: those that are idle are told by the end of their input."""
        idle, self._idle = self._idle, []
        for process in idle:
            assert process.stdin is not None
            process.stdin.close()
        for process in idle:
            _wait(process)
            self._started.ended(process)
        self._started.stop()


def words_of(command: str) -> list[str]:
    """The words of a command as a shell would cut them. MetricError where a quote is not closed."""
    try:
        return shlex.split(command)
    except ValueError as error:
        raise MetricError(f"the command cannot be read: {error}", where=f"metric {command}") from None
