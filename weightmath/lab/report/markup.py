"""Sections as HTML. Whatever comes from results is escaped; charts and points are left to the page's script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from weightmath.lab.report.chart import Chart
from weightmath.lab.report.sections import Section
from weightmath.lab.report.sheet import NOTHING, Cell, Sheet


def navigation(sections: Sequence[Section]) -> str:
    """Links to the sections, where there is more than one."""
    if len(sections) < 2:
        return ""
    links = [f'<li><a href="#section-{i}">{escape(one.title)}</a></li>' for i, one in enumerate(sections)]
    return f'<nav aria-label="Results"><ul>{"".join(links)}</ul></nav>'


def section(one: Section, number: int, first_chart: int) -> str:
    """One section; its charts are drawn by number, from `first_chart` on."""
    facts = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in one.facts)
    charts = "".join(_chart(chart, first_chart + i) for i, chart in enumerate(one.charts))
    tables = "".join(map(_sheet, one.sheets))
    return (
        f'<section id="section-{number}" data-section="{number}">'
        f'<h2>{escape(one.title)}</h2><p class="kind">{escape(one.kind)}</p>'
        f'<dl class="facts">{facts}</dl>'
        f'<div class="charts">{charts}</div>{tables}{_recipe() if one.recipe else ""}</section>\n'
    )


def _chart(chart: Chart, number: int) -> str:
    note = f"<p>{escape(chart.note)}</p>" if chart.note else ""
    return (
        f'<figure class="{"square" if chart.square else "wide"}">'
        f"<figcaption><h3>{escape(chart.title)}</h3></figcaption>"
        f'<div class="chart" id="chart-{number}" role="img" aria-label="{escape(chart.title)}"></div>{note}</figure>'
    )


def _sheet(sheet: Sheet) -> str:
    heads = "".join(
        f'<th scope="col"{_align(sheet, column)}><button type="button">{escape(name)}</button></th>'
        for column, name in enumerate(sheet.columns)
    )
    texts = zip(*(sheet.texts(column) for column in range(len(sheet.columns))), strict=True)
    rows = "".join(_row(sheet, number, shown) for number, shown in enumerate(texts))
    title = escape(sheet.title)
    return (
        f'<h3>{title}</h3><div class="scroll" tabindex="0" role="region" aria-label="{title}">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(sheet: Sheet, number: int, shown: Sequence[str]) -> str:
    cells = [_cell(cell, escape(text)) for cell, text in zip(sheet.rows[number], shown, strict=True)]
    if not sheet.points:
        return f"<tr>{''.join(cells)}</tr>"
    point = sheet.points[number]
    first = f'<td class="number" data-value="{point}"><button type="button">{point}</button></td>'
    best = ' class="best"' if point in sheet.best else ""
    return f'<tr{best} data-point="{point}">{first}{"".join(cells[1:])}</tr>'


def _cell(cell: Cell, shown: str) -> str:
    if isinstance(cell, str):
        return f"<td>{shown}</td>"
    if shown == NOTHING:
        return f'<td class="number">{shown}</td>'
    # JavaScript says Infinity where Python says inf.
    value = repr(cell).replace("inf", "Infinity")
    return f'<td class="number" data-value="{value}" title="{value}">{shown}</td>'


def _align(sheet: Sheet, column: int) -> str:
    numbers = any(isinstance(row[column], int | float) for row in sheet.rows)
    return ' class="number"' if numbers else ""


def _recipe() -> str:
    return (
        '<h3>Recipe of point <output class="which"></output></h3>'
        '<p class="hint">Choose another point in the table or in a chart.</p><pre class="recipe" tabindex="0"></pre>'
    )
