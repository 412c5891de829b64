"""`weightmath inspect`: show what a checkpoint holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from weightmath.cli import options
from weightmath.cli.answer import answer
from weightmath.cli.failures import FAILED, REFUSED, failing
from weightmath.cli.loading import loading
from weightmath.errors import counted, listed

if TYPE_CHECKING:
    from weightmath.checkpoint import Checkpoint, Integrity
    from weightmath.cli.page import Page
    from weightmath.reports.checkpoint import CheckpointReport, SectionReport, TensorReport

Check = Annotated[
    bool, typer.Option("--check", help="Read all bytes and compare the file's checksums, and an output's fingerprint.")
]

_TENSORS_SHOWN = 40
_SECTIONS_SHOWN = 6
_TWINS_SHOWN = 8


def inspect(
    path: options.Checkpoint,
    section: options.Section = None,
    everything: options.All = False,
    check: Check = False,
    json: options.Json = False,
) -> None:
    """Show what a checkpoint holds: sections, tensors, shared storages, everything else.

    The section marked * is the vector, unless a recipe names another. A tensor's range is its place in the flat vector,
    which is sorted by name. Nothing in the file is executed. With --check the exit code is 1 where a checksum or
    the fingerprint that an output carries differs.
    """
    with failing(REFUSED, as_json=json):
        with loading():
            from weightmath.checkpoint import open_checkpoint
            from weightmath.reports.checkpoint import checkpoint_report

        checkpoint = open_checkpoint(path)
        report = checkpoint_report(checkpoint, section, check=check)
        answer(report, _print, checkpoint, everything, as_json=json)
    if report.check is not None and report.check.problems:
        raise typer.Exit(FAILED)


def _print(report: CheckpointReport, checkpoint: Checkpoint, everything: bool) -> None:
    from weightmath.cli.page import Page
    from weightmath.cli.quantities import size_text
    from weightmath.cli.tree import print_tree

    page = Page()
    page.line(report.path, style="bold")
    page.line(f"{report.container} ({report.writer}), {size_text(report.bytes)}")
    page.heading("sections")
    head = ["", "name", "tensors", "values", "dtypes", "same names again"]
    shown = report.sections if everything else report.sections[:_SECTIONS_SHOWN]
    page.table([_section(one) for one in shown], head=head, right=(2, 3))
    page.rest(len(report.sections) - len(shown), "sections")
    if report.section is not None:
        page.heading(f"{report.section or 'top level'}: {counted(report.values, 'value')}")
        _print_tensors(page, report, everything)
    page.heading("everything")
    print_tree(page, checkpoint.tree, report.section, everything=everything)
    if report.check is not None:
        page.heading("check")
        page.listed(list(_findings(report.check, report.recorded)))


def _findings(check: Integrity, recorded: bool | None) -> Iterator[str]:
    yield from check.problems
    if recorded:
        yield "the weights have the fingerprint that was recorded when they were made"
    if check.without:
        yield "the file has no checksums; its sizes fit its headers"
    elif not check.problems:
        yield f"all bytes have the checksums that were written with them ({check.records:,} records)"


def _section(one: SectionReport) -> list[str]:
    from weightmath.cli.page import shortened
    from weightmath.cli.quantities import dtypes_text

    name = one.name or "(top level)"
    return [
        "*" if one.chosen else "",
        name,
        f"{one.tensors:,}",
        f"{one.values:,}",
        dtypes_text(one.dtypes),
        " ".join(shortened(one.twins, _TWINS_SHOWN)),
    ]


def _print_tensors(page: Page, report: CheckpointReport, everything: bool) -> None:
    inside = [one for one in report.tensors if one.start is not None]
    outside = [one for one in report.tensors if one.start is None]
    most = len(report.tensors) if everything else _TENSORS_SHOWN
    page.table(list(map(_tensor, inside[:most])), head=["name", "shape", "dtype", "range", ""], right=(3,))
    page.rest(len(inside) - most, "tensors")
    if outside:
        page.heading("outside the vector")
        page.table(list(map(_tensor, outside[:most])), head=["name", "shape", "dtype", "", ""])
        page.rest(len(outside) - most, "tensors")
    if report.not_plain:
        from weightmath.cli.page import shortened

        page.heading("weights that are quantized, packed, sparse or of a class of their own, and no part of the vector")
        page.listed(shortened(report.not_plain, most))


def _tensor(one: TensorReport) -> list[str]:
    shape = " x ".join(map(str, one.shape)) or "()"
    span = "" if one.start is None else f"{one.start:,}..{one.stop:,}"
    return [one.name, shape, one.dtype, span, ", ".join(_notes(one))]


def _notes(one: TensorReport) -> Iterator[str]:
    if one.device != "cpu":
        yield one.device
    if one.shares:
        yield f"shares its storage with {listed(one.shares, 1)}"
