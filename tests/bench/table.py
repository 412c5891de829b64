"""Results as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from tests.bench.record import Record
from tests.bench.results import Result, growth

_MB = 1e6
_WIDTH = 150  # columns; a table of numbers that is cut is worth nothing


def show(record: Record) -> None:
    """Print all that was measured."""
    console = Console(width=_WIDTH)
    console.print(_ratios(record.cases))
    if further := growth(record.cases):
        console.print(
            f"each further byte, start-up aside: {further['wall']:.2f} floors by the clock, {further['cpu']:.2f} of the"
            f" processors' time; memory for the larger model: {further['peak'] / _MB:+.0f} MB"
        )
    if any(result.peers for result in record.cases):
        console.print(_peers(record.cases))
    if record.answers:
        console.print(_answers(record.answers))
    if record.forecasts:
        console.print(_forecasts(record.forecasts))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table


def _ratios(results: Sequence[Result]) -> Table:
    table = _table(
        "floors: (seconds - start - packing / threads) / floor s, the time to copy: median (least-most)",
        *("case", "threads", "read MB", "written MB", "floor s", "start s", "packing s", "seconds"),
        *("floors", "floors, cpu", "peak MB", "passes", "predicted / s"),
    )
    for each in results:
        table.add_row(
            each.name,
            str(each.threads),
            f"{each.read / _MB:,.0f}",
            f"{each.written / _MB:,.0f}",
            *(f"{cost['wall']:.2f}" for cost in (each.floor, each.start)),
            f"{each.compressor:.2f}" if each.compressor else "",
            f"{each.weightmath['wall']:.2f}",
            str(each.ratio["wall"]),
            str(each.ratio["cpu"]),
            f"{each.weightmath['peak'] / _MB:.0f}",
            str(each.passes),
            f"{each.predicted / each.weightmath['wall']:.2f}" if each.predicted else "",
        )
    return table


def _peers(results: Sequence[Result]) -> Table:
    table = _table(
        "peers: whole processes, imports included", "case", "program", "seconds", "cpu s", "peak MB", "times weightmath"
    )
    for each in results:
        if each.peers:
            table.add_row(each.name, "weightmath", *_cost(each.weightmath), "1.0")
        for name, peer in each.peers.items():
            table.add_row("", f"{name} {peer['version']}", *_cost(peer), str(peer["times"]))
    return table


def _answers(answers: Mapping[str, Mapping[str, float]]) -> Table:
    table = _table("answers without reading a tensor", "command", "seconds", "cpu s", "peak MB")
    for name, cost in answers.items():
        table.add_row(name, *_cost(cost))
    return table


def _forecasts(forecasts: Mapping[str, Mapping[str, float]]) -> Table:
    table = _table("an average of three from the disk, as `plan` says", "values", "read GB", "seconds", "peak MB")
    for values, said in forecasts.items():
        table.add_row(values, f"{said['read'] / 1e9:,.0f}", f"{said['seconds']:,.0f}", f"{said['peak'] / _MB:,.0f}")
    return table


def _cost(cost: Mapping[str, float]) -> tuple[str, str, str]:
    return f"{cost['wall']:.2f}", f"{cost['cpu']:.2f}", f"{cost['peak'] / _MB:.0f}"
