"""The page of a sweep or a search: its points, the best of them, where the table lies."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from weightmath.cli.answer import answer
from weightmath.cli.page import Page
from weightmath.cli.progress import progress_bar
from weightmath.cli.quantities import number_text
from weightmath.errors import counted

if TYPE_CHECKING:
    from weightmath.engine.meter import Told
    from weightmath.lab.study import Study
    from weightmath.lab.sweep import Swept
    from weightmath.lab.table import Row
    from weightmath.reports.study import StudyReport

_SHOWN = 24


def measure_and_print(study: Study, measure: Callable[[Told], Swept], *, as_json: bool) -> None:
    """Measure the points of a study, shown as they are done, and print its record: as a page, or as JSON."""
    from weightmath.reports.study import study_report

    with progress_bar("measuring", wanted=not as_json, points=True) as progress:
        found = measure(progress)
    answer(study_report(study, found), print_study, as_json=as_json)


def print_study(report: StudyReport) -> None:
    """Print the record: of many points those that are best."""
    page = Page()
    page.line(f"{report.table}  ({counted(len(report.rows), 'point')})", style="bold")
    rows, order = _chosen(report)
    head = [*report.params, *(_titled(name, report) for name in report.metrics)]
    lead = len(report.params)
    page.wide_table([_cells(row, report) for row in rows], head=head, right=range(len(head)), lead=lead)
    page.rest(len(report.rows) - len(rows), where=f", in {report.csv}; {order}")
    if report.best is not None:
        page.heading("best")
        page.wide_table([_cells(report.best, report)], head=head, right=range(len(head)), lead=lead)
        if report.checkpoint:
            page.listed([f"kept as {report.checkpoint}"])
        elif report.best.checkpoint:
            page.listed([f"kept as {report.best.checkpoint}, beside the table"])
        if report.front:
            page.heading(f"Pareto front: no point is better than these in {' and '.join(report.goal)}")
            page.wide_table([_cells(row, report) for row in report.front], head=head, right=range(len(head)), lead=lead)
    page.warnings(report.warnings)
    if report.before:
        page.line()
        page.line(f"{counted(report.before, 'point')} were there from before")


def _chosen(report: StudyReport) -> tuple[tuple[Row, ...], str]:
    """The rows that are printed, and what they are."""
    if len(report.rows) <= _SHOWN or not report.goal:
        return report.rows[:_SHOWN], "the first are shown"
    metric, goal = next(iter(report.goal.items()))
    known = [row for row in report.rows if row.metrics[metric] == row.metrics[metric]]
    best = sorted(known, key=lambda row: row.metrics[metric], reverse=goal == "max")
    return tuple(best[:_SHOWN]), f"the best by {metric} are shown"


def _titled(name: str, report: StudyReport) -> str:
    return f"{name} ({report.goal[name]})" if name in report.goal else name


def _cells(row: Row, report: StudyReport) -> list[str]:
    values = (*(row.params[name] for name in report.params), *(row.metrics[name] for name in report.metrics))
    return [number_text(value) for value in values]
