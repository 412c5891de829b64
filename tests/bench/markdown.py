"""The record as tables of the README. Of each case, the largest models that it was measured on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from tests.bench.cases import AVERAGE_OF_3, CASES, Target
from tests.bench.record import Record
from tests.bench.results import Result
from weightmath.cli.quantities import seconds_text, size_text

_TARGETS = {case.name: case.target for case in CASES}
_SIZES = "size "  # cases that differ in that alone have a table of their own
_ALONE = ", 1 thread"
_GAIN = 1.7  # what the second thread is meant to gain


def machine(record: Record) -> str:
    """The machine and the versions, as a block of text."""
    made = record.machine
    versions = ", ".join(f"{name} {made[name]}" for name in ("python", "numpy", "numkong", "llvmlite") if name in made)
    repeats = sorted({case.repeats for case in record.cases})
    runs = f"{repeats[0]} runs" if len(repeats) == 1 else f"{repeats[0]} to {repeats[-1]} runs"
    return f"```text\n{made['cores']} cores of {made['processor']}; {versions}; {runs} of each program\n```\n"


def speed(record: Record) -> str:
    """Each case beside its floor, its target, and what `plan` said beforehand."""
    largest = _largest(record)
    heads = ("case", "a model", "seconds", "times the floor", "target", "peak memory", "`plan` said / took")
    rows = ([*_of_case(case, largest), *_said(case)] for case in largest.values() if not case.name.startswith(_SIZES))
    return _table(heads, rows)


def _of_case(case: Result, largest: Mapping[str, Result]) -> list[str]:
    own = case.weightmath
    return [
        case.name,
        size_text(case.model),
        f"{own['wall']:.1f}" + (f", {case.compressor / case.threads:.1f} to pack" if case.compressor else ""),
        str(case.ratio["wall"]),
        _beside(case, _TARGETS.get(case.name), largest.get(AVERAGE_OF_3)),
        size_text(round(own["peak"])),
    ]


def _beside(case: Result, target: Target | None, average: Result | None) -> str:
    """The target of a case; with what it took where that is no number of floors."""
    if target is None:
        return ""
    if target.of == "floor":
        return f"{target.times:g}"
    if average is None or average.model != case.model:
        return str(target)
    return f"{target}: took {_work(case) / _work(average):.1f}"


def _said(case: Result) -> Iterator[str]:
    yield f"{case.predicted / case.weightmath['wall']:.2f}" if case.predicted else ""


def threads(record: Record) -> str:
    """What the second thread gains."""
    largest = _largest(record)
    pairs = [
        (one, largest[name.removesuffix(_ALONE)])
        for name, one in largest.items()
        if name.endswith(_ALONE) and name.removesuffix(_ALONE) in largest
    ]
    rows = (
        [two.name, *(f"{each.weightmath['wall']:.1f}" for each in (one, two)), f"{_work(one) / _work(two):.2f}"]
        for one, two in pairs
    )
    return _table(("case", "1 thread, seconds", "2 threads", f"gain, {_GAIN} wanted"), rows)


def cores(record: Record) -> str:
    """What more threads gain: seconds of cases that were measured with several numbers of them."""
    found: dict[str, dict[int, Result]] = {}
    for case in record.cases:
        found.setdefault(case.name.partition(", ")[0], {})[case.threads] = case
    several = {name: by_threads for name, by_threads in found.items() if len(by_threads) > 2}
    numbers = sorted({number for by_threads in several.values() for number in by_threads})
    rows = (
        [name, *(f"{by_threads[n].weightmath['wall']:.1f} s" if n in by_threads else "" for n in numbers)]
        for name, by_threads in several.items()
    )
    return _table(("case", *(f"{n} thread{'s' * (n > 1)}" for n in numbers)), rows)


def sizes(record: Record) -> str:
    """How time and memory grow with the model."""
    cases = {case.model: case for case in record.cases if case.name.startswith(_SIZES)}
    heads = ("model", "seconds", "start-up aside, for each GB", "the floor, for each GB", "peak memory")
    rows = (
        [
            size_text(case.model),
            f"{case.weightmath['wall']:.1f}",
            f"{_work(case) / case.model * 1e9:.2f} s",
            f"{case.floor['wall'] / case.model * 1e9:.2f} s",
            size_text(round(case.weightmath["peak"])),
        ]
        for _, case in sorted(cases.items())
    )
    return _table(heads, rows)


def peers(record: Record) -> str:
    """Whole processes of weightmath and of its peers: seconds, memory, and how many times as much that is."""
    cases = [case for case in record.cases if case.peers]
    versions = {name: peer["version"] for case in cases for name, peer in case.peers.items()}
    heads = ("case", "a model", "weightmath", *(f"{name} {version}" for name, version in versions.items()))
    rows = (
        [
            case.name,
            size_text(case.model),
            f"{case.weightmath['wall']:.1f} s, {size_text(round(case.weightmath['peak']))}",
            *(_peer(case, case.peers.get(name)) for name in versions),
        ]
        for case in cases
    )
    return _table(heads, rows)


def _peer(case: Result, peer: Mapping[str, Any] | None) -> str:
    if peer is None:
        return ""
    memory = peer["peak"] / case.weightmath["peak"]
    cost = f"{peer['wall']:.1f} s, {size_text(round(peer['peak']))}"
    return f"{cost}: {peer['times'].median:.1f} and {memory:.1f} times"


def answers(record: Record) -> str:
    """What answers without reading a tensor."""
    rows = (
        [f"`{name}`", f"{cost['wall']:.2f} s", size_text(round(cost["peak"]))] for name, cost in record.answers.items()
    )
    return _table(("command", "seconds", "peak memory"), rows)


def forecasts(record: Record) -> str:
    """What `plan` says of larger models on this machine."""
    rows = (
        [
            f"{float(values):,.0f}",
            f"{size_text(round(said['read']))}, {size_text(round(said['written']))}",
            seconds_text(said["seconds"]),
            size_text(round(said["peak"])),
        ]
        for values, said in record.forecasts.items()
    )
    return _table(("values of each model", "read, written", "time", "memory"), rows)


def _largest(record: Record) -> dict[str, Result]:
    """Of each case, what was measured on the largest models; in the order of the cases."""
    found = {case.name: case for case in sorted(record.cases, key=lambda case: case.model)}
    return {case.name: found[case.name] for case in CASES if case.name in found}


def _work(case: Result) -> float:
    """Seconds, start-up aside."""
    return case.weightmath["wall"] - case.start["wall"]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (heads, ["---"] * len(heads), *rows))


PARTS: dict[str, Callable[[Record], str]] = {
    "machine": machine,
    "speed": speed,
    "threads": threads,
    "cores": cores,
    "sizes": sizes,
    "answers": answers,
    "forecasts": forecasts,
    "peers": peers,
}
