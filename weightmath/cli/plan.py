"""`weightmath plan`: say what `run` would do, without reading a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from weightmath.cli import options
from weightmath.cli.answer import answer
from weightmath.cli.failures import REFUSED, failing
from weightmath.cli.loading import loading
from weightmath.errors import counted

if TYPE_CHECKING:
    from weightmath.algebra.names import Description
    from weightmath.cli.page import Page
    from weightmath.reports.plan import InputPlan, ListPlan, OutputPlan, PassPlan, PlanReport, Refusal

_NAMES_SHOWN = 6


def plan(
    words: options.Words,
    expression: options.Expression = None,
    sets: options.Set = None,
    inputs: options.Input = None,
    output: options.Output = None,
    threads: options.Threads = None,
    memory: options.Memory = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Print what `run` would do, without reading a tensor.

    Exit code 0 only if `run` would start; 2 with the reason if it would refuse. Only `run` reads the files that
    `sha256:` pins, and refuses others.
    """
    with failing(REFUSED, as_json=json):
        with loading():
            from weightmath.cli.progress import progress_bar
            from weightmath.job import prepare
            from weightmath.reports.plan import plan_report
            from weightmath.sizes import parse_size

        budget = parse_size(memory)
        source = options.recipe_of(words, expression, sets, inputs, output)
        with progress_bar("opening", wanted=not json, points=True) as opening:
            job = prepare(source, opening)
        report = plan_report(job, threads=threads, memory=budget, force=force)
        answer(report, _print, as_json=json)
    if report.refusal is not None:
        raise typer.Exit(REFUSED)


def _print(report: PlanReport) -> None:
    from weightmath.cli.page import Page

    page = Page()
    page.line(f"plan of {report.recipe}", style="bold")
    page.heading("inputs")
    head = ["name", "kind", "section", "tensors", "values", "dtypes", "path"]
    page.table([_input(one) for one in report.inputs], head=head, right=(3, 4))
    for chosen in report.lists:
        _print_list(page, chosen)
    if report.values:
        page.heading("let")
        page.table([[value.name, value.kind, value.formula] for value in report.values])
    for rule in report.rules:
        _print_rule(page, rule)
    page.heading("passes")
    rows = [[number, text] for place, one in enumerate(report.passes, 1) for number, text in _pass(place, one)]
    rows += [["", f"tensor by tensor within a pass: {text}"] for text in dict.fromkeys(report.within)]
    page.table(rows, right=(0,))
    if report.outputs:
        page.heading("outputs")
        page.table([_output(one) for one in report.outputs])
    _print_copied(page, report)
    page.heading("cost")
    page.table(_cost(report))
    page.warnings(report.warnings)
    if report.refusal is not None:
        _print_refusal(report.refusal)


def _input(one: InputPlan) -> list[str]:
    from weightmath.cli.quantities import dtypes_text

    kind = f"{one.kind}{', a part' if one.part else ''}{', template' if one.template else ''}"
    counts = [f"{one.tensors:,}", f"{one.values:,}", dtypes_text(one.dtypes)]
    return [one.name, kind, one.section or "(top level)", *counts, f"{one.path} ({one.container})"]


def _print_rule(page: Page, rule: Description) -> None:
    from weightmath.cli.quantities import number_text

    page.heading(rule.rule)
    page.line(rule.note, style="dim")
    rows = []
    for part in rule.parts:
        span = "" if part.number is not None else f" to {number_text(part.high)}"
        rows.append([part.label, f"{number_text(part.low)}{span}", counted(len(part.tensors), "tensor")])
    page.table(rows)


def _print_list(page: Page, chosen: ListPlan) -> None:
    from weightmath.cli.page import shortened
    from weightmath.cli.quantities import number_text

    page.heading(f"{chosen.name}: {counted(len(chosen.files), 'file')}, {len(chosen.left_out):,} left out")
    numbers = [number_text(number) for number in chosen.numbers]
    if numbers:
        page.listed([f"sorted by a stored number: {' '.join(numbers)}"])
    page.listed(shortened([f"{one.path}: {one.reason}" for one in chosen.left_out], _NAMES_SHOWN))


def _pass(number: int, one: PassPlan) -> list[tuple[str, str]]:
    from weightmath.cli.quantities import size_text

    rows = [(str(number), f"reads {', '.join(one.reads) or 'nothing'} ({size_text(one.bytes)})")]
    rows += [("", f"for {text}") for text in one.computes]
    if one.selects:
        rows.append(("", "selects by a sample and one reading, and at most two more where the sample misled"))
    if one.writes:
        rows.append(("", f"writes {', '.join(one.writes)}"))
    return rows


def _output(one: OutputPlan) -> list[str]:
    from weightmath.cli.quantities import size_text

    dtype = f", as {one.dtype}" if one.dtype else ""
    counts = f"{counted(one.merged, 'tensor')} merged{dtype}, {one.copied:,} copied from `{one.template}`"
    return [one.path, size_text(one.bytes), one.kind, counts]


def _print_copied(page: Page, report: PlanReport) -> None:
    did = "copied" if report.outputs else "left out"
    rows = [[f"{len(one.tensors):,}", f"{did}: {one.reason}", _names(one.tensors)] for one in report.copied]
    rows += [
        [f"{len(one.tensors):,}", f"outside the vector: {_POLICIES[one.policy]}", _names(one.tensors)]
        for one in report.integers
    ]
    merged = tuple(one.tensor for one in report.buffers if one.fate == "merged")
    if merged and report.outputs:
        rows.append([f"{len(merged):,}", "buffers, merged by the formula", _names(merged)])
    if rows:
        page.heading("tensors apart")
        page.table(rows, right=(0,))


_POLICIES = {
    "template": "the template's",
    "error": "the template's; an error where inputs disagree",
    "max": "the largest of all inputs",
    "sum": "the sum of all inputs",
}


def _names(names: tuple[str, ...]) -> str:
    from weightmath.cli.page import shortened

    return " ".join(shortened(names, _NAMES_SHOWN))


def _cost(report: PlanReport) -> list[list[str]]:
    from weightmath.cli.quantities import size_text

    alone = f", {size_text(report.bytes_for_identity)} of it for fingerprints and sums alone"
    return [
        ["reads", size_text(report.bytes_read) + (alone if report.bytes_for_identity else "")],
        ["writes", size_text(report.bytes_written)],
        ["memory", f"about {size_text(report.peak_bytes)} at most, with {counted(report.threads, 'thread')}"],
        ["time", _time(report)],
    ]


def _time(report: PlanReport) -> str:
    from weightmath.cli.quantities import seconds_text

    if report.estimate is None:
        return f"very roughly {seconds_text(report.seconds)}; once `weightmath calibrate` has run, within a third"
    parts = [(name, getattr(report.estimate, name)) for name in ("start", "files", "arithmetic", "disk", "flush")]
    longest = ", ".join(f"{name} {seconds_text(taken)}" for name, taken in parts if taken >= report.seconds / 100)
    return f"about {seconds_text(report.seconds)}: {longest}"


def _print_refusal(refusal: Refusal) -> None:
    import sys

    from weightmath.errors import WeightmathError

    sys.stdout.flush()
    error = WeightmathError(refusal.what, where=refusal.where, hint=refusal.hint)
    print(f"error: run would refuse: {error.of_command()}", file=sys.stderr)
