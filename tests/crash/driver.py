"""Runs a recipe in processes of its own that die or fail at a chosen system call: python -m tests.crash.driver RECIPE

Reads orders, one JSON object a line, and answers each with one:

    kill     die (SIGKILL) at this call, counted from 1: before it, after it, or in the midst of writing
    writes   die before so many writes
    fail     [call, errno]: from this call on the next that writes fails, and all later ones of its kind
    fail_reading  the same of calls that read
    short    write no more than so many bytes at a time
    sleep    wait so many seconds before each write
    fill     [call, folder]: use up the disk that a folder is on, at this call
    threads, sets, memory, force

An answer has `signal`, and if the run came to an end: `calls`, `writes`, `written` (bytes),
`resumed`, `warnings`, or `error` and `kind`.
One interpreter forks them all, so that a run takes a moment and not a second.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from weightmath.errors import WeightmathError
from weightmath.job import prepare
from weightmath.running import load, run

CALLS = ("pwrite", "pread", "preadv", "ftruncate", "posix_fallocate", "fsync", "replace", "rename", "unlink", "open")
KINDS = {"fail": ("pwrite", "fsync", "posix_fallocate"), "fail_reading": ("pread", "preadv")}


class Faults:
    """Stands between the run and the system."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.calls = 0
        self.writes = 0
        self.written = 0
        self.broken: str | None = None  # the kind of call that fails now
        self._lock = threading.Lock()
        for name in CALLS:
            setattr(os, name, self._wrapped(name, getattr(os, name)))

    def _wrapped(self, name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with self._lock:
                self.calls += 1
                number = self.calls
                self.writes += name == "pwrite"
            if number == self.order.get("kill"):
                self._die(name, plain, arguments)
            if name == "pwrite" and self.writes == self.order.get("writes"):
                os.kill(os.getpid(), signal.SIGKILL)
            self._fail(number, name)
            self._fill(number)
            if name == "pwrite":
                time.sleep(self.order.get("sleep", 0))
                arguments = (arguments[0], arguments[1][: self.order.get("short")], *arguments[2:])
                self.written += len(arguments[1])
            return plain(*arguments, **options)

        return call

    def _die(self, name: str, plain: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        how = self.order["kill"] % 3
        if how == 1:
            with suppress(OSError):  # such as one that says that there was nothing to remove
                plain(*arguments)
        elif how == 2 and name == "pwrite":
            plain(arguments[0], arguments[1][: len(arguments[1]) // 2], *arguments[2:])
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)

    def _fail(self, number: int, name: str) -> None:
        for order, kinds in KINDS.items():
            first, code = self.order.get(order, (sys.maxsize, 0))
            if number >= first and self.broken is None and name in kinds:
                self.broken = name
            if first < sys.maxsize and name == self.broken:
                raise OSError(code, os.strerror(code))

    def _fill(self, number: int) -> None:
        first, folder = self.order.get("fill", (0, ""))
        if number == first:
            # Meanwhile no other thread begins to write what would have fitted.
            with self._lock, open(Path(folder) / "filler", "wb", buffering=0) as filler, suppress(OSError):
                while True:
                    filler.write(bytes(4096))


def one_run(recipe: str, order: dict[str, Any]) -> dict[str, Any]:
    """Do the run; what to answer."""
    options = {name: order[name] for name in ("memory", "force") if name in order}
    faults = Faults(order)
    try:
        report = run(prepare(load(recipe, sets=order.get("sets", ()))), threads=order.get("threads", 2), **options)
    except WeightmathError as error:
        return {"error": str(error), "kind": type(error).__name__}
    return {
        "calls": faults.calls,
        "writes": faults.writes,
        "written": faults.written,
        "resumed": report.resumed,
        "warnings": report.warnings,
        "shown": repr(
            (
                report.answers,
                {name: sorted(one.tensors.items(), key=str) for name, one in report.results.outcomes.items()},
            )
        ),
    }


def in_a_child(recipe: str, order: dict[str, Any]) -> dict[str, Any]:
    """Do the run in a process that may die."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            with open(writing, "w") as pipe:
                json.dump(one_run(recipe, order), pipe)
        except Exception:  # noqa: BLE001 - a child must not go on as a second parent
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    return {"signal": os.WTERMSIG(status), **(json.loads(text) if text else {})}


def main() -> None:
    """Answer orders until there are no more."""
    for line in sys.stdin:
        print(json.dumps(in_a_child(sys.argv[1], json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
