"""`weightmath diff`: compare two checkpoints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from weightmath.cli import options
from weightmath.cli.answer import answer
from weightmath.cli.failures import FAILED, REFUSED, failing
from weightmath.cli.loading import loading
from weightmath.cli.quantities import or_dash, share_text

if TYPE_CHECKING:
    from weightmath.cli.page import Page
    from weightmath.reports.difference import DiffReport, LayerDifference, TensorDifference

_NAMES_SHOWN = 12
_LAYERS_SHOWN = 60
_LARGEST_SHOWN = 10
_BAR = 24


def diff(
    first: options.Checkpoint,
    second: options.Checkpoint,
    section: options.Section = None,
    everything: options.All = False,
    json: options.Json = False,
) -> None:
    """Compare the tensors of two checkpoints, the second against the first.

    Exit code 0: the same tensors, equal bit for bit; 1: different; 2: they cannot be compared. What else the
    checkpoints hold is not compared.
    """
    with failing(REFUSED, as_json=json):
        with loading():
            from weightmath.cli.progress import progress_bar
            from weightmath.difference import compare
            from weightmath.reports.difference import diff_report

        with progress_bar("comparing", wanted=not json) as progress:
            report = diff_report(compare(first, second, section, progress))
        answer(report, _print, everything, as_json=json)
    if not report.equal:
        raise typer.Exit(FAILED)


def _print(report: DiffReport, everything: bool) -> None:
    from weightmath.cli.page import Page

    page = Page()
    page.line(f"{report.first} -> {report.second}", style="bold")
    share = share_text(report.elements_different, report.elements)
    page.table(
        [
            ["tensors", f"{report.tensors_equal:,} of {report.tensors:,} equal bit for bit"],
            ["elements", f"{report.elements_different:,} of {report.elements:,} different ({share})"],
            ["distance", f"relative change {or_dash(report.relative_change)}, cosine {or_dash(report.cosine, '.6f')}"],
        ]
    )
    _print_names(page, f"only in {report.first}", report.only_first, everything)
    _print_names(page, f"only in {report.second}", report.only_second, everything)
    shapes = [f"{one.name}: {one.first} and {one.second}" for one in report.reshaped]
    _print_names(page, "of two shapes, not compared", shapes, everything)
    if not report.tensors_different:
        return
    _print_layers(page, report.layers, everything)
    largest = sorted(report.tensors_different, key=_size, reverse=True)
    shown = largest if everything else largest[:_LARGEST_SHOWN]
    page.heading("the largest changes")
    head = ["tensor", "change", "cosine", "largest", "different", "dtype"]
    page.table([_tensor(one) for one in shown], head=head, right=(1, 2, 3, 4))
    page.rest(len(largest) - len(shown), "tensors")


def _print_names(page: Page, heading: str, names: Sequence[str], everything: bool) -> None:
    if names:
        page.heading(f"{heading} ({len(names):,})")
        shown = names if everything else names[:_NAMES_SHOWN]
        page.listed(shown)
        page.rest(len(names) - len(shown), "tensors")


def _print_layers(page: Page, layers: Sequence[LayerDifference], everything: bool) -> None:
    page.heading("relative change by layer")
    shown = layers if everything else layers[:_LAYERS_SHOWN]
    most = max((one.relative_change or 0.0 for one in layers), default=0.0)
    rows = [
        [
            one.layer,
            or_dash(one.relative_change),
            or_dash(one.cosine, ".6f"),
            f"{one.equal} of {one.tensors}",
            _bar(one, most),
        ]
        for one in shown
    ]
    page.table(rows, head=["layer", "change", "cosine", "equal", ""], right=(1, 2, 3))
    page.rest(len(layers) - len(shown), "layers")


def _bar(one: LayerDifference, most: float) -> str:
    """A bar as long as the change, against the largest; a change that is not 0 is seen."""
    share = (one.relative_change or 0.0) / most if most > 0 else 0.0
    eighths = round(8 * _BAR * share) if math.isfinite(share) else 0
    eighths = max(eighths, 1) if share > 0 else eighths
    whole, rest = divmod(eighths, 8)
    return "█" * whole + " ▏▎▍▌▋▊▉"[rest].strip()


def _size(one: TensorDifference) -> float:
    change = one.relative_change
    return float("inf") if change is None or math.isnan(change) else change


def _tensor(one: TensorDifference) -> list[str]:
    dtype = one.dtypes[0] if one.dtypes[0] == one.dtypes[1] else f"{one.dtypes[0]} -> {one.dtypes[1]}"
    share = share_text(one.different, one.elements)
    return [one.name, or_dash(one.relative_change), or_dash(one.cosine, ".6f"), or_dash(one.largest), share, dtype]
