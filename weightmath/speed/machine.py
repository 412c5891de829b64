"""What one machine takes for each thing that a run does: measured by `weightmath calibrate`, kept in the user's cache.

Kept with what it was measured on: a machine, or versions of libraries, that changed count as not measured.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from weightmath.kernels.machine import compiler
from weightmath.text_files import write_whole
from weightmath.versions import VERSIONS


@dataclass(frozen=True)
class Machine:
    """Seconds that one thread takes for a unit of each kind of work.

    seconds  by kind: the operations of `weightmath.engine.cost.operations` per element, and those of `work` in
             `weightmath.speed.estimate`
    shared   the part of the work that several threads share, 0 to 1: with n of them it takes 1 - shared + shared / n
    made_by  processor, number of processors, and versions
    """

    seconds: Mapping[str, float]
    shared: float
    made_by: Mapping[str, str]

    def of(self, kind: str) -> float:
        """Seconds for a unit; for a kind that was not measured, as much as the dearest of its family."""
        if kind in self.seconds:
            return self.seconds[kind]
        first, _, _ = kind.partition(" ")
        family = [seconds for name, seconds in self.seconds.items() if name.partition(" ")[0] == first]
        return max(family, default=self.seconds["multiply"])


def this_machine() -> dict[str, str]:
    """What measurements depend on."""
    processor = {"processor": _processor(), "cores": str(os.cpu_count()), "python": platform.python_version()}
    return {**processor, **VERSIONS, "llvmlite": compiler() or "none"}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def place() -> Path:
    """Where measurements are kept: machine.json in $XDG_CACHE_HOME/weightmath, or in ~/.cache/weightmath."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "weightmath" / "machine.json"


def measured() -> Machine | None:
    """What was measured on this machine with these versions; None where nothing was."""
    try:
        machine = Machine(**json.loads(place().read_text()))
    except (OSError, ValueError, TypeError):  # none, a damaged file, or one of another version
        return None
    return machine if machine.made_by == this_machine() else None


def keep(machine: Machine) -> Path:
    """Keep measurements for this user; returns where."""
    path = place()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(asdict(machine), indent=1))
    return path
