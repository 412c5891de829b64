"""From a case to its numbers: who takes turns, and what is kept of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.cases import AVERAGE, LARGEST, SMALLEST, Case
from tests.bench.measure import BARE, PYTHON, TORCH, WEIGHTMATH, Cost, Program, Spread, alternate, medians, ratios
from tests.bench.peers import PEERS
from tests.bench.workload import Models

_FLOOR = Path(__file__).with_name("floor.py")


@dataclass(frozen=True)
class Result:
    """A case's numbers.

    read, written  bytes of the floor; weightmath reads the first as often as `passes` says
    floor, start, weightmath  median seconds, `wall` and `cpu`, and the most memory, `peak`, of the whole process
    ratio          (weightmath - start) / floor, `wall` and `cpu`
    peers          of each, its version and the same numbers of its whole process, and `times`: how many times
                   weightmath's whole process it takes
    """

    name: str
    dtype: str
    threads: int
    read: int
    written: int
    passes: int
    floor: Mapping[str, float]
    start: Mapping[str, float]
    weightmath: Mapping[str, float]
    ratio: Mapping[str, Spread]
    peers: Mapping[str, Mapping[str, Any]]


def measured(cases: Sequence[Case], models: Models, repeats: int, *, peers: bool = False) -> list[Result]:
    """Measure cases on models that have been made; all programs of all cases take turns."""
    programs = {("start", "python"): Program(PYTHON), ("start", "torch"): Program(TORCH)}
    for case in cases:
        programs[case.name, "floor"] = floor(case, models)
        programs[case.name, "weightmath"] = weightmath(case, models)
        for peer in PEERS if peers else ():
            if case.name in peer.cases and peer.version:
                programs[case.name, peer.name] = peer.program(case.name, models)
    largest = max(cases, key=lambda case: case.models)
    alternate({"floor": floor(largest, models)}, 1)  # warms the page cache
    costs, printed = alternate(programs, repeats)
    return [_result(case, models, costs, printed[case.name, "weightmath"]) for case in cases]


def _result(case: Case, models: Models, costs: Mapping[tuple[str, str], Sequence[Cost]], printed: str) -> Result:
    own = {program: runs for (name, program), runs in costs.items() if name == case.name}
    start = costs["start", case.start]
    ours = medians(own["weightmath"])
    beside = {peer.name: {"version": peer.version, **medians(own[peer.name])} for peer in PEERS if peer.name in own}
    return Result(
        name=case.name,
        dtype=case.kind.dtype,
        threads=case.threads,
        read=case.models * models.bytes(),
        written=case.writes * models.bytes(),
        passes=json.loads(printed)["reads"],
        floor=medians(own["floor"]),
        start=medians(start),
        weightmath=ours,
        ratio=ratios(own["weightmath"], start, own["floor"]),
        peers={name: {**cost, "times": cost["wall"] / ours["wall"]} for name, cost in beside.items()},
    )


def floor(case: Case, models: Models) -> Program:
    """The floor of a case."""
    outputs = tuple(models.folder / f"floor{i}" for i in range(case.writes))
    inputs = [models.path(i) for i in range(case.models)]
    return Program([*BARE, str(_FLOOR), str(len(inputs)), *map(str, [*inputs, *outputs])], outputs)


def weightmath(case: Case, models: Models) -> Program:
    """`weightmath run` on a case; writes its recipe beside the models."""
    recipe = _write(models, case.name, case.recipe, case.models)
    outputs = tuple(models.folder / f"out{i}.ckpt" for i in range(max(1, case.writes)))
    return Program([*WEIGHTMATH, "run", str(recipe), "--json", "--threads", str(case.threads)], outputs)


def _write(models: Models, name: str, recipe: str, count: int) -> Path:
    inputs = "".join(f"  m{i}: {models.path(i).name}\n" for i in range(count))
    path = models.folder / f"{name.replace('/', ' of ')}.yaml"
    path.write_text(f"inputs:\n{inputs}{recipe}")
    return path


def answers(models: Models, repeats: int) -> dict[str, dict[str, float]]:
    """Seconds and memory of what answers without reading a tensor, on the average of three."""
    recipe = _write(models, "plan", AVERAGE, 3)
    commands = {"--help": ["--help"], "plan": ["plan", str(recipe)], "inspect": ["inspect", str(models.path(0))]}
    programs = {name: Program([*WEIGHTMATH, *words]) for name, words in commands.items()}
    return {name: medians(costs) for name, costs in alternate(programs, repeats)[0].items()}


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
