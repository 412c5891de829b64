"""Charts as figures of plotly, for notebooks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from weightmath.errors import OutputError
from weightmath.lab.report.sections import of_table, section_of
from weightmath.lab.table import Table

if TYPE_CHECKING:
    from plotly.graph_objects import Figure  # type: ignore[import-untyped]


def figures(results: str | Path | Table) -> dict[str, Figure]:
    """The charts of results by their titles, as figures that a notebook shows and plotly can change.

    results   a table, its file, or the file of what `compare --json` printed
    Fails with TableError for what is neither, OutputError where plotly is not installed.
    """
    try:
        from plotly.graph_objects import Figure
    except ImportError:
        raise OutputError("figures need plotly", hint="pip install 'weightmath[lab]'") from None
    section = of_table(results, "table") if isinstance(results, Table) else section_of(results)
    return {chart.title: Figure(chart.as_plotly()) for chart in section.charts}
