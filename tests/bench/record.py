"""The record: one file that several runs fill together, since all cases take longer than one likes to wait.

A case that is measured anew at the same size of model replaces the old one. All of a record is of one machine and one
set of versions.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.measure import Spread
from tests.bench.results import Result


class OtherMachineError(Exception):
    """A record that cannot be added to: another machine, or other versions, made it."""


@dataclass(frozen=True)
class Record:
    """What was measured on a machine.

    answers    of commands that read no tensor, `wall`, `cpu` and `peak`
    forecasts  what `plan` says of an average of three larger models, by their number of values
    """

    machine: Mapping[str, str]
    cases: tuple[Result, ...] = ()
    answers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    forecasts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def adding(self, newer: Record) -> Record:
        """With what a newer one holds, in place of the same cases on models of the same size."""
        cases = {(each.name, each.model): each for each in (*self.cases, *newer.cases)}
        answers, forecasts = {**self.answers, **newer.answers}, {**self.forecasts, **newer.forecasts}
        return Record(self.machine, tuple(cases.values()), answers, forecasts)


def this_machine() -> dict[str, str]:
    """As weightmath tells it, in a process of its own: what this one holds counts for the peaks of what it starts."""
    told = "import json; from weightmath.speed.machine import this_machine; print(json.dumps(this_machine()))"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def read(path: Path | None) -> Record:
    """The record that a file holds, or an empty one. OtherMachineError where it was not made here and now."""
    here = this_machine()
    if path is None or not path.exists():
        return Record(here)
    found = json.loads(path.read_text())
    differ = [f"{name} {was}" for name, was in found["machine"].items() if here.get(name) != was]
    if differ:
        raise OtherMachineError(f"{path} was measured with {', '.join(differ)}; remove it to begin anew")
    return parsed(found)


def parsed(found: Mapping[str, Any]) -> Record:
    """A record from its JSON."""
    cases = tuple(map(_result, found["cases"]))
    return Record(found["machine"], cases, found["answers"], found["forecasts"])


def _result(case: Mapping[str, Any]) -> Result:
    ratio = {name: Spread(**spread) for name, spread in case["ratio"].items()}
    peers = {name: {**peer, "times": Spread(**peer["times"])} for name, peer in case["peers"].items()}
    return Result(**{**case, "ratio": ratio, "peers": peers})


def write(record: Record, path: Path | None) -> None:
    """Write a record to a file, if any is wished."""
    if path is not None:
        path.write_text(json.dumps(asdict(record), indent=1) + "\n")
