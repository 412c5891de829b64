"""Programs as whole processes: what each run of one costs, and what several cost when they take turns."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from tests.bench.workload import remove

# The commands' own entry point, without a script that has to be on the path.
WEIGHTMATH = (sys.executable, "-c", "from weightmath.cli import main; main()")
BARE = (sys.executable, "-I", "-S")
PYTHON = (*BARE, "-c", "pass")


@dataclass(frozen=True)
class Cost:
    """One run: seconds by the clock and of the processors (user + system), and the most bytes resident.

    Of a process and its helpers: what they share counts once.
    """

    wall: float
    cpu: float
    peak: int


@dataclass(frozen=True)
class Program:
    """A command.

    outputs  files and folders that it makes, which are deleted after each run
    cold     files that are dropped from the page cache before each run
    """

    command: Sequence[str]
    outputs: tuple[Path, ...] = ()
    cold: tuple[Path, ...] = ()


class ProgramError(Exception):
    """A program that did not exit with 0."""


def run(program: Program) -> tuple[Cost, str]:
    """Run a program and wait for it; returns its cost and what it printed. Raises ProgramError with its last words."""
    for path in program.cold:
        _forget(path)
    # Installed packages have their bytecode: a checkout keeps it from its first run on, unless that is forbidden.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.perf_counter()
        process = subprocess.Popen(program.command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment)
        with _Watch(process.pid) as watch:
            try:
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:  # Ctrl-C or SIGTERM: nothing is left behind that goes on
                process.kill()
                process.wait()
                raise
            wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            words = (err.read() or out.read())[-2000:]
            raise ProgramError(f"{' '.join(program.command)}: exit code {process.returncode}: {words}")
        return Cost(wall, usage.ru_utime + usage.ru_stime, max(watch.most, usage.ru_maxrss * _MAXRSS_UNIT)), out.read()


class _Watch:
    """Looks at the memory of a process and those that it has started, now and then: a single one tells of itself."""

    def __init__(self, pid: int) -> None:
        self.most = 0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Watch:
        if Path("/proc/self/smaps_rollup").exists():
            self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _look(self) -> None:
        pause = 0.0
        while not self._over.wait(pause):
            started = time.perf_counter()
            family = _family(self._pid)
            if len(family) > 1:
                self.most = max(self.most, sum(map(_resident, family)))
            # Five percent of a processor, but where it is so busy that a peak would pass unseen.
            pause = min(1.0, max(0.05, 20 * (time.perf_counter() - started)))


def _family(pid: int) -> list[int]:
    """A process and all below it that are still there."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(below for child in children for below in _family(int(child)))]


def _resident(pid: int) -> int:
    """Bytes of a process, of shared ones its share."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _forget(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


Key = TypeVar("Key")


def alternate(
    programs: Mapping[Key, Program], repeats: int, fewer: Mapping[Key, int] | None = None
) -> tuple[dict[Key, list[Cost]], dict[Key, str]]:
    """Run each program `repeats` times, or `fewer`, A B C A B C; returns their costs and what each printed last."""
    costs: dict[Key, list[Cost]] = {name: [] for name in programs}
    printed: dict[Key, str] = {}
    for turn in range(repeats):
        for name, program in programs.items():
            if turn >= (fewer or {}).get(name, repeats):
                continue
            cost, printed[name] = run(program)
            costs[name].append(cost)
            for path in program.outputs:
                remove(path)
    return costs, printed


@dataclass(frozen=True)
class Spread:
    """A median and how far the runs lie apart."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Spread:
        """Of one number per run."""
        return cls(median(numbers), min(numbers), max(numbers))

    def __str__(self) -> str:
        if self.least == self.most:
            return f"{self.median:.2f}"
        return f"{self.median:.2f} ({self.least:.2f}-{self.most:.2f})"


def ratios(own: Sequence[Cost], start: Sequence[Cost], floor: Sequence[Cost]) -> dict[str, Spread]:
    """How many floors a program takes beyond its start-up, `wall` and `cpu`: (own - start) / floor.

    Turn by turn, so that what else the machine does at the time falls on all three.
    """
    turns = list(zip(own, start, floor, strict=True))
    return {
        "wall": Spread.of([(one.wall - before.wall) / copy.wall for one, before, copy in turns]),
        "cpu": Spread.of([(one.cpu - before.cpu) / copy.cpu for one, before, copy in turns]),
    }


def times(theirs: Sequence[Cost], ours: Sequence[Cost]) -> Spread:
    """How many times as long one program takes as the other, turn by turn, in the turns that both took."""
    return Spread.of([one.wall / other.wall for one, other in zip(theirs, ours, strict=False)])


def medians(costs: Sequence[Cost]) -> dict[str, Any]:
    """The medians of several runs, and the most memory of any."""
    return {
        "wall": median(cost.wall for cost in costs),
        "cpu": median(cost.cpu for cost in costs),
        "peak": max(cost.peak for cost in costs),
    }
