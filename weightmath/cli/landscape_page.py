"""The page and the picture of a landscape: its points, barriers and curves."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from weightmath.cli.page import Page
from weightmath.cli.quantities import number_text
from weightmath.errors import counted

if TYPE_CHECKING:
    from weightmath.reports.landscape import LandscapeReport, Spot

_SHOWN = 40


def picture_file(stem: Path, *, resume: bool) -> Path | None:
    """The file of the picture, None where there will be none. OutputError where it exists, unless `resume`."""
    from weightmath.lab.table import paths
    from weightmath.text_files import check_free

    page = paths(stem)[0].with_suffix(".html")
    exists = "-o STEM writes another; --resume goes on with its table, and draws it anew"
    check_free(page, force=resume, folder="-o STEM writes another", exists=exists)
    return page if find_spec("plotly") else None


def draw(stem: Path, page: Path | None) -> None:
    """Draw the table, if there is a page to draw on."""
    if page is not None:
        from weightmath.lab.report.write import report
        from weightmath.lab.table import paths

        report([paths(stem)[0]], page, force=True)


def show(report: LandscapeReport) -> None:
    """Print what was found."""
    page = Page()
    page.line(f"{report.table}  ({counted(len(report.rows), 'point')})", style="bold")
    if report.page:
        page.listed([f"drawn in {report.page}"])
    else:
        page.listed(["not drawn: plotly is not installed (pip install 'weightmath[lab]')"])
    _show_points(page, report)
    if report.curve:
        _show_curve(page, report)
    if report.what == "line" and not report.goal:
        page.listed(["no barrier: of several numbers --of says which counts, --goal whether more is better"])
    for barrier in report.barriers:
        page.heading(f"barrier of {barrier.metric}: {number_text(barrier.height)} at t = {number_text(barrier.at)}")
        page.listed([barrier.definition])
    if report.best is not None:
        page.heading(f"best {next(iter(report.goal))}")
        head = _head(report)
        page.wide_table([_cells(report.best)], head=head, right=range(len(head)), lead=len(report.axes))
        if report.checkpoint:
            page.listed([f"kept as {report.checkpoint}"])
    page.warnings(report.warnings)


def _show_points(page: Page, report: LandscapeReport) -> None:
    """The points of a curve; of a plane those of the models."""
    if report.what == "noise":
        return
    marked = [tuple(model["place"]) for model in report.models]
    names = {place: model["path"] for place, model in zip(marked, report.models, strict=True)}
    flat = len(report.axes) == 1
    spots = [spot for spot in report.rows if flat or tuple(spot.params.values()) in names]
    rows = [[*_cells(spot), names.get(tuple(spot.params.values()), "")] for spot in spots[:_SHOWN]]
    if rows:
        head = _head(report)
        page.wide_table(rows, head=[*head, ""], right=range(len(head)), lead=len(report.axes))
    page.rest(len(spots) - _SHOWN, where=f", in {report.csv}")


def _show_curve(page: Page, report: LandscapeReport) -> None:
    """The curves of the metrics that count; of all where nothing says which do."""
    levels = [level for level in report.curve if not report.goal or level.metric in report.goal]
    rows = [
        [
            level.metric,
            number_text(level.scale),
            str(level.seeds),
            number_text(level.mean),
            "" if level.low is None or level.high is None else f"{number_text(level.low)} to {number_text(level.high)}",
        ]
        for level in levels
    ]
    page.table(rows, head=["metric", "scale", "seeds", "mean", "95% interval of the mean"], right=(1, 2, 3))
    if len(levels) < len(report.curve):
        page.listed(["--json has the curves of the other metrics, and the picture shows them"], style="dim")


def _head(report: LandscapeReport) -> list[str]:
    return [*report.rows[0].params, *report.rows[0].metrics]


def _cells(spot: Spot) -> list[str]:
    return [number_text(value) for value in (*spot.params.values(), *spot.metrics.values())]
