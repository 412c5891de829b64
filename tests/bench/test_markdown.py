"""The README's tables say what the record holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.bench import markdown
from tests.bench.cases import AVERAGE_OF_3
from tests.bench.measure import Spread
from tests.bench.record import Record
from tests.bench.results import Result

MACHINE = {"cores": "2", "processor": "A processor", "python": "3.11", "numpy": "2.4", "numkong": "7.8"}


def result(
    name: str, seconds: float, *, model: float = 1e9, predicted: float | None = None, peers: Any = None
) -> Result:
    """A case that takes so many seconds, one of them to start, beside a floor of two."""

    def cost(wall: float) -> dict[str, float]:
        return {"wall": wall, "cpu": wall, "peak": 3e8}

    wall = Spread((seconds - 1) / 2, 1, 9)
    times = {"wall": wall, "cpu": wall}
    size = int(model)
    return Result(name, "float16", 2, size, 3, 0, 0, 1, cost(2), cost(1), cost(seconds), times, predicted, peers or {})


def rows(table: str) -> list[list[str]]:
    """The cells of a table, without its head."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_cases_stand_in_their_order_on_the_largest_models_beside_their_targets() -> None:
    cases = (
        result("ties global", 9),
        result(AVERAGE_OF_3, 3, predicted=2.4),
        result(AVERAGE_OF_3, 2, model=5e8),
        result("slerp", 4),
        result("size 8", 4),
    )
    assert rows(markdown.speed(Record(MACHINE, cases))) == [
        [AVERAGE_OF_3, "1.00 GB", "3.0", "1.00 (1.00-9.00)", "1.3", "300 MB", "0.80"],
        ["ties global", "1.00 GB", "9.0", "4.00 (1.00-9.00)", "5 averages: took 4.0", "300 MB", ""],
        ["slerp", "1.00 GB", "4.0", "1.50 (1.00-9.00)", "", "300 MB", ""],
    ]


def test_the_gain_of_the_second_thread_is_without_the_start() -> None:
    cases = (result(AVERAGE_OF_3, 3), result(f"{AVERAGE_OF_3}, 1 thread", 4.5), result("ties global, 1 thread", 9))
    assert rows(markdown.threads(Record(MACHINE, cases))) == [[AVERAGE_OF_3, "4.5", "3.0", "1.75"]]


def test_more_threads_stand_side_by_side() -> None:
    names = ((AVERAGE_OF_3, 2, 4), (f"{AVERAGE_OF_3}, 1 thread", 1, 6), (f"{AVERAGE_OF_3}, 8 threads", 8, 2))
    cases = [replace(result(name, seconds), threads=threads) for name, threads, seconds in names]
    table = markdown.cores(Record(MACHINE, (*cases, result("slerp", 3))))
    assert table.startswith("| case | 1 thread | 2 threads | 8 threads |\n")
    assert rows(table) == [[AVERAGE_OF_3, "6.0 s", "4.0 s", "2.0 s"]]


def test_sizes_grow_and_each_gigabyte_is_told() -> None:
    cases = (result("size 8", 9, model=1.6e10), result("size 1/8", 1.5, model=2.5e8))
    assert rows(markdown.sizes(Record(MACHINE, cases))) == [
        ["250 MB", "1.5", "2.00 s", "8.00 s", "300 MB"],
        ["16.0 GB", "9.0", "0.50 s", "0.12 s", "300 MB"],
    ]


def test_peers_are_told_by_version_with_their_time_and_memory_in_ours() -> None:
    peer = {"version": "0.1.5", "repeats": 1, "wall": 30.0, "cpu": 40.0, "peak": 3e9, "times": Spread(10, 10, 10)}
    cases = (result(AVERAGE_OF_3, 3, peers={"mergekit": peer}), result("ties tensor", 3, peers={"sd-mecha": peer}))
    table = markdown.peers(Record(MACHINE, cases))
    assert table.startswith("| case | a model | weightmath | mergekit 0.1.5 | sd-mecha 0.1.5 |\n")
    assert rows(table) == [
        [AVERAGE_OF_3, "1.00 GB", "3.0 s, 300 MB", "30.0 s, 3.00 GB: 10.0 and 10.0 times", ""],
        ["ties tensor", "1.00 GB", "3.0 s, 300 MB", "", "30.0 s, 3.00 GB: 10.0 and 10.0 times"],
    ]


def test_machine_answers_and_forecasts() -> None:
    said = {"1e12": {"read": 6e12, "written": 2e12, "seconds": 7260, "peak": 3.1e8}}
    record = Record(MACHINE, (result("slerp", 3),), {"plan": {"wall": 0.5, "cpu": 0.5, "peak": 6e7}}, said)
    assert markdown.machine(record) == (
        "```text\n2 cores of A processor; python 3.11, numpy 2.4, numkong 7.8; 3 runs of each program\n```\n"
    )
    assert rows(markdown.answers(record)) == [["`plan`", "0.50 s", "60.0 MB"]]
    assert rows(markdown.forecasts(record)) == [["1,000,000,000,000", "6.00 TB, 2.00 TB", "2 h 01 min", "310 MB"]]
