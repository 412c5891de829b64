"""`python -m tests.bench`: make models, measure, print tables, remove the models."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from tests.bench.cases import CASES, Case, chosen
from tests.bench.measure import ProgramError
from tests.bench.peers import PEERS, Peer
from tests.bench.record import OtherMachineError, Record, read, this_machine, write
from tests.bench.results import Wishes, answers, calibrate, forecasts, measured
from tests.bench.table import show
from tests.bench.workload import Kind, Models

# Bytes of a model of size 1. Full: 1.07e9 values of half precision, as many as Stable Diffusion 1.5 has.
SCALES = {"tiny": 2_000_000, "small": 64_000_000, "medium": 533_000_000, "full": 2_132_000_000}

_ABOUT = """
Measures weightmath against the floor of its machine: a plain program that reads the same bytes and writes the same
bytes. Both run as whole processes, in turns; Python's start, measured alone, is taken out. Models are made in a
temporary folder, seeded, and removed. Wall time is only worth something on an idle machine; the processors' time is
more robust. All of it takes long: with --json, runs of some cases each add to one record.
"""


def main() -> int:
    """Run the command line; returns its exit code."""
    asked = _parser().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the models go, as after Ctrl-C
    try:
        cases = [_on(case, asked.threads) for case in chosen(asked.case)]
        record = read(asked.json)
    except KeyError as unknown:
        _say(f"no case {unknown}; there are: {', '.join(case.name for case in CASES)}")
        return 2
    except OtherMachineError as refused:
        _say(str(refused))
        return 2
    peers = _peers(asked.peers) if asked.peers else {}
    wishes = Wishes(asked.repeats, asked.peer_repeats or asked.repeats, asked.predict, peers, asked.peers)
    now = Record(record.machine)
    with tempfile.TemporaryDirectory(prefix="weightmath-bench-", dir=asked.folder) as folder:
        _say(f"in {folder}: {_disk(cases, SCALES[asked.scale], Path(folder), bool(wishes.peers))}")
        try:
            for piece in _measure(cases, wishes, SCALES[asked.scale], Path(folder)):
                now = now.adding(piece)
                write(record.adding(now), asked.json)
        except ProgramError as failed:
            _say(str(failed))
            return 1
        except KeyboardInterrupt:
            _say("stopped")
            return 130
    show(now)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=_ABOUT)
    parser.add_argument(
        "--scale", choices=SCALES, default="small", help="2 MB, 64 MB (default), 533 MB or 2.1 GB a model"
    )
    parser.add_argument(
        "--case", nargs="+", action="extend", default=[], metavar="NAME", help="cases by name or glob, or all"
    )
    parser.add_argument(
        "--peers",
        nargs="?",
        const=sys.executable,
        metavar="PYTHON",
        help="also mergekit, sd-mecha and a guide's own code, where this interpreter (the present one) has them",
    )
    parser.add_argument("--predict", action="store_true", help="calibrate, and show what plans say beforehand")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add all numbers to what is here")
    parser.add_argument("--threads", type=int, help="of weightmath, for all cases")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each program (3)")
    parser.add_argument("--peer-repeats", type=int, metavar="REPEATS", help="runs of each peer, which may take minutes")
    parser.add_argument("--folder", type=Path, help="where models are made; the system's temporary folder")
    return parser


def _peers(python: str) -> dict[Peer, str]:
    """The peers that are installed for an interpreter, with their versions."""
    found = {peer: peer.version(python) for peer in PEERS}
    _say(
        *(f"{peer.name} is left out: {peer.package} is not installed" for peer, version in found.items() if not version)
    )
    return {peer: version for peer, version in found.items() if version}


def _on(case: Case, threads: int | None) -> Case:
    return replace(case, threads=threads) if threads else case


def _disk(cases: Sequence[Case], unit: int, folder: Path, twice: bool) -> str:
    """How much space the largest set takes; SystemExit where there is not as much.

    Models in another form are there as .ckpt too, and all of them are as safetensors for peers.
    """
    most = max(
        int(unit * case.kind.size) * (case.models * (1 + (twice or case.kind.form != "ckpt")) + max(1, case.writes))
        for case in cases
    )
    free = shutil.disk_usage(folder).free
    if free < most:
        raise SystemExit(f"{folder}: {most / 1e9:.1f} GB are needed, and {free / 1e9:.1f} GB are free")
    return f"up to {most / 1e9:.2f} GB, {unit / 1e6:,.0f} MB a model of size 1"


def _measure(cases: Sequence[Case], wishes: Wishes, unit: int, folder: Path) -> Iterator[Record]:
    """What was found, set by set of models."""
    piece = Record(this_machine())
    if wishes.predict:
        calibrate(folder)
        yield replace(piece, forecasts=forecasts(folder))
    for models, group in _sets(cases, unit, folder, wishes.peers):
        _say(*(f"{case.name} ..." for case in group))
        yield replace(piece, cases=tuple(measured(group, models, wishes)))
        if models.kind == Kind() and any(case.models >= 3 for case in group):
            yield replace(piece, answers=answers(models, wishes.repeats))


def _sets(
    cases: Sequence[Case], unit: int, folder: Path, peers: Iterable[Peer]
) -> Iterator[tuple[Models, Sequence[Case]]]:
    """Cases by the kind of their models, which exist while it is their turn."""
    for kind, group in groupby(cases, lambda case: case.kind):
        together = list(group)
        models = Models(kind, int(unit * kind.size), folder)
        shared = any(case.name in peer.cases for peer in peers for case in together)
        models.make(max(case.models for case in together), forms=["safetensors"] if shared else [])
        yield models, together
        models.remove()


def _say(*lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
