"""From a case to its numbers: who takes turns, and what is kept of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.bench.cases import AVERAGE, LARGEST, SMALLEST, Case
from tests.bench.measure import (
    BARE,
    PYTHON,
    WEIGHTMATH,
    Cost,
    Program,
    Spread,
    alternate,
    medians,
    ratios,
    run,
    times,
)
from tests.bench.peers import Peer
from tests.bench.workload import Models, files, hollow, remove

_FLOOR = Path(__file__).with_name("floor.py")


@dataclass(frozen=True)
class Result:
    """A case's numbers.

    model          bytes of a model
    repeats        runs of each program; each peer has its own
    read, written  bytes of the floor; weightmath reads the first as often as `passes` says
    floor, start, weightmath  median seconds, `wall` and `cpu`, and the most memory, `peak`, of the whole process
    ratio          (weightmath - start) / floor, `wall` and `cpu`; a compressor's own time is taken out too
    predicted      seconds that `weightmath plan` said, on a measured machine; None where it was not asked
    peers          of each, its version and the same numbers of its whole process, `repeats`, and `times`: how many
                   times weightmath's whole process it takes, turn by turn
    compressor     seconds of a processor that the compressor of a delta takes by itself; threads share them
    """

    name: str
    dtype: str
    threads: int
    model: int
    repeats: int
    read: int
    written: int
    passes: int
    floor: Mapping[str, float]
    start: Mapping[str, float]
    weightmath: Mapping[str, float]
    ratio: Mapping[str, Spread]
    predicted: float | None
    peers: Mapping[str, Mapping[str, Any]]
    compressor: float = 0.0


@dataclass(frozen=True)
class Wishes:
    """What is measured beside weightmath and the floor.

    repeats       runs of each program
    peer_repeats  runs of each peer, which may take minutes
    predict       whether plans are asked how long their runs will take
    peers         with their versions
    python        the interpreter that peers run under
    """

    repeats: int = 3
    peer_repeats: int = 3
    predict: bool = False
    peers: Mapping[Peer, str] = field(default_factory=dict)
    python: str = sys.executable


def calibrate(folder: Path) -> None:
    """Measure the machine and the folder's disk, for plans that later processes make; all that is found stays there."""
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    run(Program([*WEIGHTMATH, "calibrate", str(folder)]))


def measured(cases: Sequence[Case], models: Models, wishes: Wishes) -> list[Result]:
    """Measure cases on models that have been made; all programs of all cases take turns."""
    programs = {("start", "python"): Program(PYTHON)}
    for case in cases:
        programs[case.name, "floor"] = floor(case, models)
        programs[case.name, "weightmath"] = weightmath(case, models)
        for peer in wishes.peers:
            if case.name in peer.cases:
                programs[case.name, peer.name] = peer.program(case.name, models, wishes.python)
    largest = max(cases, key=lambda case: case.models)
    alternate({"floor": floor(largest, models)}, 1)  # warms the page cache
    plans = {case.name: _predicted(programs[case.name, "weightmath"]) for case in cases if wishes.predict}
    names = {peer.name for peer in wishes.peers}
    fewer = {program: wishes.peer_repeats for program in programs if program[1] in names}
    costs, printed = alternate(programs, wishes.repeats, fewer)
    return [
        _result(case, models, costs, printed[case.name, "weightmath"], plans.get(case.name), wishes.peers)
        for case in cases
    ]


def _predicted(program: Program) -> float | None:
    """Seconds that a plan says a run will take; None for other commands."""
    words = program.command[len(WEIGHTMATH) :]
    if words[0] != "run":
        return None
    _, printed = run(replace(program, command=[*WEIGHTMATH, "plan", *words[1:]]))
    seconds: float = json.loads(printed)["seconds"]
    return seconds


def _result(
    case: Case,
    models: Models,
    costs: Mapping[tuple[str, str], Sequence[Cost]],
    printed: str,
    predicted: float | None,
    peers: Mapping[Peer, str],
) -> Result:
    own = {program: runs for (name, program), runs in costs.items() if name == case.name}
    start, packing = costs["start", "python"], _packing(case, models)
    apart = [replace(one, wall=one.wall + packing / case.threads, cpu=one.cpu + packing) for one in start]
    return Result(
        name=case.name,
        dtype=case.kind.dtype,
        threads=case.threads,
        model=models.bytes(),
        repeats=len(own["weightmath"]),
        read=case.models * models.bytes(),
        written=case.writes * models.bytes(),
        passes=json.loads(printed).get("reads", 1),
        floor=medians(own["floor"]),
        start=medians(start),
        weightmath=medians(own["weightmath"]),
        ratio=ratios(own["weightmath"], apart, own["floor"]),
        predicted=predicted,
        peers={
            peer.name: {
                "version": version,
                "repeats": len(own[peer.name]),
                **medians(own[peer.name]),
                "times": times(own[peer.name], own["weightmath"]),
            }
            for peer, version in peers.items()
            if peer.name in own
        },
        compressor=packing,
    )


def _packing(case: Case, models: Models) -> float:
    """Seconds of a processor that the compressor takes in a case, by itself."""
    if case.packs is None:
        return 0.0
    made = str(models.folder / "made.delta")
    _, printed = run(Program([sys.executable, "-m", "tests.bench.compressor", made, case.packs]))
    return float(printed)


def floor(case: Case, models: Models) -> Program:
    """The floor of a case, on its models as single files."""
    outputs = tuple(models.folder / f"floor{i}" for i in range(case.writes))
    inputs = tuple(models.path(i, "ckpt") for i in range(case.models))
    command = [*BARE, str(_FLOOR), str(len(inputs)), *map(str, [*inputs, *outputs])]
    return Program(command, outputs, inputs if case.cold else ())


def weightmath(case: Case, models: Models) -> Program:
    """weightmath on a case; writes its recipe, or makes what it takes, beside the models."""
    if isinstance(case.recipe, str):
        outputs = tuple(models.folder / models.kind.output(i) for i in range(max(1, case.writes)))
        words = ["run", str(_write(models, case.name, case.recipe, case.models))]
    else:
        words = _filled(case.recipe, case, models)
        outputs = tuple(Path(path) for option, path in pairwise(words) if option == "-o")
        if case.before:
            run(Program([*WEIGHTMATH, *_filled(case.before, case, models), "--force"]))
    cold = [file for i in range(case.models) for file in files(models.path(i))] if case.cold else []
    return Program([*WEIGHTMATH, *words, "--json", "--threads", str(case.threads)], outputs, tuple(cold))


def _filled(words: Sequence[str], case: Case, models: Models) -> list[str]:
    """A command's words with paths in their places."""
    places = {"folder": models.folder, **{f"m{i}": models.path(i) for i in range(case.models)}}
    return [word.format_map(places) for word in words]


def _write(models: Models, name: str, recipe: str, count: int) -> Path:
    inputs = "".join(f"  m{i}: {models.path(i).name}\n" for i in range(count))
    path = models.folder / f"{name.replace('/', ' of ')}.yaml"
    for number in range(recipe.count(".ckpt:")):
        recipe = recipe.replace(f"out{number}.ckpt:", f"{models.kind.output(number)}:")
    path.write_text(f"inputs:\n{inputs}{recipe}")
    return path


def answers(models: Models, repeats: int) -> dict[str, dict[str, float]]:
    """Seconds and memory of what answers without reading a tensor, on the average of three."""
    recipe = _write(models, "plan", AVERAGE, 3)
    commands = {"--help": ["--help"], "plan": ["plan", str(recipe)], "inspect": ["inspect", str(models.path(0))]}
    programs = {name: Program([*WEIGHTMATH, *words]) for name, words in commands.items()}
    return {name: medians(costs) for name, costs in alternate(programs, repeats)[0].items()}


def forecasts(folder: Path) -> dict[str, dict[str, float]]:
    """What `plan` says of an average of three models of 1e10, 1e11 and 1e12 values, with all of them on the disk.

    It reads headers alone, so the files are holes behind them. `read` and `written` are bytes.
    """
    return {f"1e{power}": _forecast(folder / f"1e{power}", 10**power) for power in (10, 11, 12)}


def _forecast(folder: Path, values: int) -> dict[str, float]:
    folder.mkdir()
    for number in range(3):
        hollow(folder / f"m{number}.safetensors", values)
    recipe = folder / "average.yaml"
    inputs = "".join(f"  m{i}: m{i}.safetensors\n" for i in range(3))
    recipe.write_text(f"inputs:\n{inputs}{AVERAGE.replace('.ckpt', '.safetensors')}")
    # Exit code 2, since no disk has room for the output; what it says of the work is the same.
    command = [*WEIGHTMATH, "plan", str(recipe), "--json"]
    said = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    remove(folder)
    return {
        "read": said["bytes_read"],
        "written": said["bytes_written"],
        "seconds": said["seconds"],
        "peak": said["peak_bytes"],
    }


def growth(results: Sequence[Result]) -> dict[str, float] | None:
    """What a further byte costs: between the smallest and the largest size all that is fixed falls out.

    `wall` and `cpu`: floors that weightmath takes for the further bytes; `peak`: further bytes of memory. None where
    the two sizes were not measured.
    """
    named = {result.name: result for result in results}
    if SMALLEST not in named or LARGEST not in named:
        return None
    least, most = named[SMALLEST], named[LARGEST]
    ratio = {
        field: (most.weightmath[field] - least.weightmath[field]) / (most.floor[field] - least.floor[field])
        for field in ("wall", "cpu")
    }
    return {**ratio, "peak": most.weightmath["peak"] - least.weightmath["peak"]}
