"""`weightmath report`: results as one page, or as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weightmath.cli import options
from weightmath.cli.answer import answer
from weightmath.cli.failures import REFUSED, failing
from weightmath.errors import counted

if TYPE_CHECKING:
    from weightmath.reports.page import PageReport

Results = Annotated[
    list[Path], typer.Argument(metavar="RESULTS...", help="Tables (STEM.jsonl), and what `compare --json` printed.")
]
PageFile = Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="The page to write.")]
Svg = Annotated[Path | None, typer.Option("--svg", metavar="FOLDER", help="Each chart as SVG; needs a Chromium.")]
Png = Annotated[Path | None, typer.Option("--png", metavar="FOLDER", help="Each chart as PNG; needs a Chromium.")]
Title = Annotated[str | None, typer.Option("--title", metavar="TEXT", help="The page's title.")]


def report(
    results: Results,
    output: PageFile = None,
    svg: Svg = None,
    png: Png = None,
    title: Title = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Draw results: curves, contours with the models marked, heat maps, layers, maps, and tables that sort.

    The page is one file that needs no network. Results are what sweep, search, soup and landscape write, and what
    compare --json prints.
    """
    with failing(REFUSED, as_json=json):
        from weightmath.lab.report.write import report as written
        from weightmath.reports.page import page_report

        record = page_report(written(results, output, svg=svg, png=png, title=title, force=force))
        answer(record, _print, as_json=json)


def _print(record: PageReport) -> None:
    from weightmath.cli.page import Page

    page = Page()
    if record.page is not None:
        page.line(record.page, style="bold")
    if record.pictures:
        page.line(counted(len(record.pictures), "picture"), style="bold")
        page.listed(record.pictures)
    for one in record.sections:
        page.heading(one.title)
        size = "" if one.points is None else f", {counted(one.points, 'point')}"
        page.listed([f"{one.kind}{size}", *one.charts])
