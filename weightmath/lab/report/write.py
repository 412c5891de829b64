"""Results to a page, to pictures, and to figures for notebooks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weightmath.errors import OutputError, RecipeError
from weightmath.installed import check_installed
from weightmath.lab.report.chart import Chart
from weightmath.lab.report.page import page_of
from weightmath.lab.report.pictures import Form, picture_file, write_pictures
from weightmath.lab.report.sections import Section, of_table, section_of
from weightmath.lab.table import Table
from weightmath.paths import expanded
from weightmath.several import several
from weightmath.text_files import check_free, write_whole

if TYPE_CHECKING:
    from plotly.graph_objects import Figure  # type: ignore[import-untyped]

_EXISTS = "--force replaces it; another name keeps it"


@dataclass(frozen=True)
class Written:
    """What a report has written: the page, if one was asked for, and the pictures."""

    sections: tuple[Section, ...]
    page: Path | None
    pictures: tuple[Path, ...]


def report(
    results: str | Path | Sequence[str | Path],
    page: str | Path | None = None,
    *,
    svg: str | Path | None = None,
    png: str | Path | None = None,
    title: str | None = None,
    force: bool = False,
) -> Written:
    """Draw results, as one page that needs no network, as pictures, or both.

    Parameters
        results   tables of sweeps, searches, soups, landscapes (STEM.jsonl), and what `compare --json` printed (.json)
        page      the HTML file to write: charts, tables that sort, the recipe behind each point, light and dark
        svg, png  folders for a picture of each chart, in the light theme; they are called SECTION-CHART
        title     of the page; None: the name of the results
        force     replace files that exist
    Needs plotly, and for pictures kaleido and a Chrome or Chromium. Fails with RecipeError where nothing is asked for,
    TableError for a file that holds no results or is damaged, OutputError where a file exists, WeightmathError where
    something needed is not installed. A file appears whole or not at all.
    """
    folders: dict[Form, Path] = {}
    if svg is not None:
        folders["svg"] = expanded(svg)
    if png is not None:
        folders["png"] = expanded(png)
    if not results:
        raise RecipeError("nothing to report", hint="weightmath report results.jsonl -o report.html")
    if page is None and not folders:
        raise RecipeError("nowhere to write to", hint="name a page (-o report.html), or --svg FOLDER, or --png FOLDER")
    if title is not None and page is None:
        raise RecipeError("the title is the page's, and there are pictures only", hint="-o report.html")
    sections = tuple(section_of(path) for path in several(results))
    charts = _named(sections)
    target = None if page is None else expanded(page)
    files = [picture_file(name, folder, form) for form, folder in folders.items() for name in charts]
    there = [] if force else [file for file in files if file.exists()]
    if there:
        raise OutputError("exists", where=str(there[0]), hint=_EXISTS)
    if target is not None:
        check_free(target, force=force, folder="-o names a file", exists=_EXISTS)
    content = "" if target is None else page_of(sections, title or _title(sections))
    pictures = write_pictures(charts, folders) if folders else []
    if target is not None:
        write_whole(target, content)
    return Written(sections, target, tuple(pictures))


def figures(results: str | Path | Table) -> dict[str, Figure]:
    """The charts of results by their titles, as figures that a notebook shows and plotly can change.

    results   a table, its file, or the file of what `compare --json` printed
    Fails with TableError for what is neither, WeightmathError where plotly is not installed.
    """
    check_installed("a figure", "plotly")
    from plotly.graph_objects import Figure

    section = of_table(results, "table") if isinstance(results, Table) else section_of(results)
    return {chart.title: Figure(chart.as_plotly()) for chart in section.charts}


def _title(sections: Sequence[Section]) -> str:
    return sections[0].title if len(sections) == 1 else f"{len(sections)} results"


def _named(sections: Sequence[Section]) -> dict[str, Chart]:
    """All charts by what their files are called; those that would be called alike are numbered."""
    names = [(f"{section.name}-{chart.name}", chart) for section in sections for chart in section.charts]
    often, seen = Counter(name for name, _ in names), Counter[str]()
    named = {}
    for name, chart in names:
        seen[name] += 1
        named[name if often[name] == 1 else f"{name}-{seen[name]}"] = chart
    return named
