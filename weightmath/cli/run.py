"""`weightmath run`: do what a recipe says."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weightmath.cli import options
from weightmath.cli.answer import answer
from weightmath.cli.failures import FAILED, REFUSED, failing
from weightmath.cli.loading import loading
from weightmath.errors import counted

if TYPE_CHECKING:
    from weightmath.cli.page import Page
    from weightmath.questions import Claim
    from weightmath.reports.run import OutputReport, RunReport, Shown

_CELLS_SHOWN = 40
_FEW = 6  # numbers that are shown one by one
_INTEGERS_SHOWN = 8


def run(
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
    """Run a recipe: compute its vectors and save them as new checkpoints.

    Nothing of a tensor is read before the whole recipe has been checked, and no output appears before all are complete
    and every `expect` holds. A run that was killed or stopped goes on when the same command is given again.
    Exit code 0: done; 1: failed while running; 2: refused before any work; 130: interrupted; 143: terminated.
    """
    with failing(REFUSED, as_json=json):
        with loading():
            from weightmath.cli.progress import progress_bar
            from weightmath.job import prepare
            from weightmath.running import check_start
            from weightmath.running import run as run_job
            from weightmath.sizes import parse_size

        budget = parse_size(memory)
        started = time.monotonic()
        source = options.recipe_of(words, expression, sets, inputs, output)
        with progress_bar("opening", wanted=not json, points=True) as opening:
            job = prepare(source, opening)
        check_start(job, threads=threads, memory=budget, force=force)
        with progress_bar("checking sums", wanted=bool(job.pins.sums) and not json) as checking:
            job.pins.check_files(checking)
    with failing(FAILED, as_json=json):
        from weightmath.reports.run import run_report

        with progress_bar("running", wanted=not json) as progress:
            done = run_job(job, threads=threads, memory=budget, force=force, progress=progress)
        report = run_report(done, time.monotonic() - started)
        answer(report, _print, as_json=json)


def _print(report: RunReport) -> None:
    from weightmath.cli.page import Page
    from weightmath.cli.quantities import seconds_text, size_text

    page = Page()
    for output in report.outputs:
        _print_output(page, output)
        page.listed([str(effect) for effect in report.rules if effect.output == output.name])
    for shown in report.show:
        _print_shown(page, shown)
    if report.expect:
        page.heading("expect")
        page.table([_claim(claim) for claim in report.expect])
    if report.integers:
        page.heading(f"inputs disagree in {counted(len(report.integers), 'tensor')} outside the vector")
        from weightmath.cli.page import shortened

        page.listed(shortened([f"{name}: {_DONE[did]}" for name, did in report.integers.items()], _INTEGERS_SHOWN))
    page.warnings(report.warnings)
    page.line()
    if report.resumed:
        page.line("this run went on where an earlier one was stopped")
    times = f"{seconds_text(report.seconds)}, {counted(report.reads, 'reading')} of the inputs"
    page.line(f"{times}, {size_text(report.peak_bytes)} of memory at most")


_DONE = {
    "template": "the template's values were kept",
    "sum": "the sum was taken",
    "max": "the largest was taken",
}


def _print_output(page: Page, output: OutputReport) -> None:
    from weightmath.cli.quantities import share_text, size_text

    page.line(f"{output.path}  ({size_text(output.bytes)})", style="bold")
    share = share_text(output.elements_changed, output.elements)
    rows = [
        ["merged", f"{counted(output.merged, 'tensor')}: {output.changed:,} changed, {output.unchanged:,} unchanged"],
        ["elements", f"{output.elements_changed:,} of {output.elements:,} changed ({share})"],
        *[["stored", f"{counted(n, 'tensor')} as {dtype}, compared as such"] for dtype, n in output.retyped.items()],
        ["copied", f"{_copied(output)} from `{output.template}`"],
        ["to template", _distance(output)],
    ]
    if output.encoding:
        rows = [["holds", f"{counted(output.merged, 'tensor')}, stored as {output.encoding}"]]
    if output.nonfinite:
        rows.append(["not finite", counted(output.nonfinite, "element")])
    page.table(rows)


def _copied(output: OutputReport) -> str:
    tensors = counted(output.copied, "tensor")
    if output.rest == "none":
        return tensors if output.copied else "nothing"
    rest = "everything else" if output.rest == "all" else "all else but what `drop` names,"
    return f"{tensors}, and {rest}" if output.copied else rest


def _distance(output: OutputReport) -> str:
    change = "undefined" if output.relative_change is None else f"{output.relative_change:.4g}"
    cosine = "undefined" if output.cosine is None else f"{output.cosine:.6f}"
    sampled = " (of a sample)" if output.sampled else ""
    return f"relative change {change}, cosine {cosine}{sampled}"


def _print_shown(page: Page, shown: Shown) -> None:
    from weightmath.cli.quantities import number_text

    page.heading(shown.text)
    if isinstance(shown.value, Mapping):
        rows = [[str(cell), _summary(value)] for cell, value in list(shown.value.items())[:_CELLS_SHOWN]]
        page.table(rows)
        page.rest(len(shown.value) - _CELLS_SHOWN, where=": --json prints all")
    elif getattr(shown.value, "ndim", 0) == 2:
        page.table([[number_text(number) for number in row] for row in shown.value.tolist()])
    else:
        page.listed([_summary(shown.value)])


def _summary(value: Any) -> str:
    """A number, or several (one per row of a tensor) as their count and range."""
    from weightmath.cli.quantities import number_text

    numbers = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(numbers, Sequence) or isinstance(numbers, str):
        return number_text(numbers)
    if len(numbers) <= _FEW:
        return " ".join(map(number_text, numbers))
    if isinstance(numbers[0], bool):
        return f"{counted(len(numbers), 'row')}: {sum(numbers):,} true"
    return f"{counted(len(numbers), 'row')}: {number_text(min(numbers))} to {number_text(max(numbers))}"


def _claim(claim: Claim) -> list[str]:
    measured = "" if claim.left is None else f"{claim.left:.6g} against {claim.right:.6g}"
    return ["holds", claim.text, measured]
