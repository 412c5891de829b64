"""The record of `report`: what was written."""

from __future__ import annotations

from dataclasses import dataclass

from weightmath.lab.report.write import Written


@dataclass(frozen=True)
class SectionRecord:
    """Results on the page: the name, what they are, the titles of their charts, the number of points or None."""

    title: str
    kind: str
    charts: tuple[str, ...]
    points: int | None


@dataclass(frozen=True)
class PageReport:
    """A report that was written.

    page      the HTML file, or None
    pictures  files of single charts
    """

    page: str | None
    pictures: tuple[str, ...]
    sections: tuple[SectionRecord, ...]


def page_report(written: Written) -> PageReport:
    """The record of a report."""
    return PageReport(
        page=None if written.page is None else str(written.page),
        pictures=tuple(map(str, written.pictures)),
        sections=tuple(
            SectionRecord(
                one.title, one.kind, tuple(chart.title for chart in one.charts), len(one.points) if one.points else None
            )
            for one in written.sections
        ),
    )
