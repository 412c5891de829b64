"""`weightmath compare`: look at several checkpoints side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weightmath.cli import options
from weightmath.cli.answer import answer
from weightmath.cli.failures import REFUSED, failing
from weightmath.cli.quantities import or_dash, share_text
from weightmath.errors import counted

if TYPE_CHECKING:
    from weightmath.cli.page import Page
    from weightmath.reports.comparison import CompareReport, Matrix, PartRow

_MODELS_SHOWN = 10  # in one matrix
_LAYERS_SHOWN = 60
_TENSORS_SHOWN = 10

Checkpoints = Annotated[
    list[Path], typer.Argument(metavar="CKPT...", help="Checkpoints, in the order of a trajectory.")
]
Base = Annotated[
    Path | None, typer.Option("--base", metavar="CKPT", help="Compare the changes from this one, not the models.")
]
Density = Annotated[
    float | None,
    typer.Option(
        "--density", metavar="SHARE", help="Also how far the largest elements coincide: 0.1 is the top tenth."
    ),
]
Spectrum = Annotated[bool, typer.Option("--spectrum", help="Also the singular values of every matrix; slow.")]
Csv = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the numbers of each tensor, as CSV.")]


def compare(
    checkpoints: Checkpoints,
    base: Base = None,
    density: Density = None,
    spectrum: Spectrum = False,
    csv: Csv = None,
    section: options.Section = None,
    everything: options.All = False,
    threads: options.Threads = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Compare checkpoints: norms, cosines, distances, signs, drift and a map, in one reading of each.

    With --base the numbers are of the changes from it. Relative changes are against the base, or else the first one.
    """
    with failing(REFUSED, as_json=json):
        from weightmath.cli.progress import progress_bar
        from weightmath.lab.compare import compare as compared
        from weightmath.reports.comparison import compare_report, csv_rows
        from weightmath.text_files import check_free, write_whole

        options.check_force(force, csv, "--csv")
        if csv is not None:
            check_free(csv, force=force, folder="--csv names a file")
        with progress_bar("comparing", wanted=not json) as progress:
            found = compared(
                checkpoints,
                base,
                density=density,
                spectrum=spectrum,
                section=section,
                threads=threads,
                progress=progress,
            )
        report = compare_report(found)
        if csv is not None:
            write_whole(csv, _csv_text(csv_rows(report)))
        answer(report, _print, everything, as_json=json)


def _csv_text(rows: Sequence[Sequence[object]]) -> str:
    import csv
    import io

    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _print(report: CompareReport, everything: bool) -> None:
    from weightmath.cli.page import Page

    page = Page()
    against = f", as changes from {report.base}" if report.base else ""
    page.line(f"{counted(len(report.models), 'model')}{against}", style="bold")
    page.table([["tensors", f"{report.tensors:,}"], ["elements", f"{report.elements:,}"]])
    if report.left_out:
        page.listed([f"{counted(len(report.left_out), 'tensor')} not in all, or of several shapes, left out"])
    _print_models(page, report, everything)
    if len(report.models) > 1:
        _print_matrix(page, f"cosine of {report.of}", report.models, report.cosine, "{:.4f}", everything)
        _print_matrix(page, "distance", report.models, report.distance, "{:.4g}", everything)
        _print_matrix(page, f"opposite signs of {report.of}", report.models, report.opposed, "{:.1%}", everything)
    if report.overlap is not None:
        heading = f"overlap of the largest {report.density:.4g} of {report.of}"
        _print_matrix(page, heading, report.models, report.overlap, "{:.1%}", everything)
    _print_parts(page, "layer", report, report.layers, _LAYERS_SHOWN, everything)
    largest = sorted(report.by_tensor, key=_change, reverse=True)
    _print_parts(page, "tensor", report, largest, _TENSORS_SHOWN, everything)
    _print_spectrum(page, report, everything)


def _print_models(page: Page, report: CompareReport, everything: bool) -> None:
    drift = report.drift
    page.heading(f"models; the map shows {report.map_share:.0%} of their squared distances")
    head = [
        "model",
        "norm" if report.base is None else "change",
        "relative",
        "from first",
        "step",
        "turn",
        "map x",
        "y",
    ]
    steps, turns = ["", *map(or_dash, drift.steps)], ["", "", *(f"{turn:.3f}" for turn in drift.turns)]
    rows = [
        [name, or_dash(norm), or_dash(change), or_dash(start), step, turn, or_dash(x), or_dash(y)]
        for name, norm, change, start, step, turn, (x, y) in zip(
            report.models,
            report.norms,
            report.relative_changes,
            drift.from_start,
            steps,
            turns,
            report.map,
            strict=False,
        )
    ]
    if report.map_base is not None:
        rows.append([f"{report.base} (base)", *[""] * 5, *map(or_dash, report.map_base)])
    page.table(rows if everything else rows[:_LAYERS_SHOWN], head=head, right=range(1, 8))


def _print_matrix(page: Page, heading: str, models: Sequence[str], matrix: Matrix, form: str, everything: bool) -> None:
    count = len(models) if everything else min(len(models), _MODELS_SHOWN)
    page.heading(heading)
    rows = [[name, *(form.format(number) for number in row[:count])] for name, row in zip(models, matrix, strict=True)]
    page.wide_table(rows[:count], head=["", *models[:count]], right=range(1, count + 1))
    page.rest(len(models) - count, "models")


def _print_parts(
    page: Page, what: str, report: CompareReport, parts: Sequence[PartRow], most: int, everything: bool
) -> None:
    count = len(report.models) if everything else min(len(report.models), _MODELS_SHOWN)
    page.heading(f"relative change by {what}, against {report.reference}")
    shown = parts if everything else parts[:most]
    rows = [
        [
            one.name,
            *(or_dash(change) for change in one.relative_changes[:count]),
            or_dash(one.lowest_cosine, ".4f"),
            share_text(one.elements, report.elements),
        ]
        for one in shown
    ]
    head = [what, *report.models[:count], "lowest cosine", "elements"]
    page.wide_table(rows, head=head, right=range(1, count + 3))
    page.rest(len(parts) - len(shown), f"{what}s")


def _print_spectrum(page: Page, report: CompareReport, everything: bool) -> None:
    if report.spectrum is None:
        return
    page.heading(f"singular values of {report.of}")
    count = len(report.models) if everything else min(len(report.models), _MODELS_SHOWN)
    shown = report.spectrum if everything else report.spectrum[: max(_LAYERS_SHOWN // count, 1)]
    rows: list[list[str]] = []
    for one in shown:
        rows.append([one.name])
        rows += (
            [f"  {model}", or_dash(most), f"{stable:.1f}", f"{effective:.1f}", str(ninety)]
            for model, most, stable, effective, ninety in zip(
                report.models[:count], one.largest, one.stable_rank, one.effective_rank, one.rank_90, strict=False
            )
        )
    page.table(rows, head=["", "largest", "stable rank", "effective rank", "rank of 90%"], right=range(1, 5))
    page.rest(len(report.spectrum) - len(shown), "tensors")


def _change(one: PartRow) -> float:
    return max((float("inf") if change is None else change for change in one.relative_changes), default=0.0)
