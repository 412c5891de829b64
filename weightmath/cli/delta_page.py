"""What a delta file says of itself, and how alike two are, for people."""

from __future__ import annotations

from pathlib import Path

from weightmath.cli.answer import answer
from weightmath.cli.page import Page
from weightmath.cli.quantities import size_text
from weightmath.delta.api import open_delta
from weightmath.errors import counted
from weightmath.reports.delta import ComparisonReport, DeltaReport, delta_report

_SHOWN = 12


def show(path: Path, everything: bool, json: bool) -> None:
    """Print the description of a delta file."""
    answer(delta_report(open_delta(path)), _print, everything, as_json=json)


def _print(report: DeltaReport, everything: bool) -> None:
    page = Page()
    page.line(report.path, style="bold")
    given = ", ".join(f"{name} {value}" for name, value in report.options.items())
    of = "tuned file" if report.whole_file else "tensors"
    rows = [
        ["kind", f"{report.kind}{', ' if given else ''}{given}"],
        ["size", f"{size_text(report.bytes)}, {100 * report.ratio:.1f}% of the {of}"],
        ["base", f"{report.base.file} {report.base.fingerprint}"],
        ["tuned", f"{report.tuned.file} {report.tuned.fingerprint}" if report.tuned else "-"],
        *([["differs", "nothing: base and tuned have the same weights"]] if _is_same(report) else []),
        ["error", _error(report.error)],
        ["written by", report.by],
    ]
    page.table(rows)
    page.heading(counted(len(report.tensors), "tensor"))
    largest = sorted(report.tensors, key=lambda tensor: -tensor.bytes)
    shown = largest if everything else largest[:_SHOWN]
    page.table(
        [
            [
                one.name,
                one.encoder,
                size_text(one.bytes),
                f"{100 * one.bytes / max(one.raw_bytes, 1):.1f}%",
                _error(one.error),
                one.dtype,
            ]
            for one in shown
        ],
        head=["tensor", "as", "size", "of the tensor", "error", "dtype"],
        right=(2, 3),
    )
    page.rest(len(largest) - len(shown), "tensors")


def _is_same(report: DeltaReport) -> bool:
    mark = report.base.fingerprint
    return mark is not None and report.tuned is not None and report.tuned.fingerprint == mark


def _error(error: float | None) -> str:
    return "exact" if error is None else f"{error:.4g}"


def show_comparison(report: ComparisonReport, everything: bool) -> None:
    """Print how alike two deltas are."""
    page = Page()
    rows = [("all tensors", report.whole), *report.tensors.items()]
    shown = rows if everything else rows[: _SHOWN + 1]
    page.table(
        [
            [
                name,
                f"{one.norm_first:.4g}",
                f"{one.norm_second:.4g}",
                f"{one.cosine:.6f}",
                f"{100 * one.sign_agreement:.1f}%",
                f"{100 * one.overlap:.1f}%",
            ]
            for name, one in shown
        ],
        head=["tensor", "length A", "length B", "cosine", "same sign", "overlap"],
        right=(1, 2, 3, 4, 5),
    )
    page.rest(len(rows) - len(shown), "tensors")
