"""Charts of points that spread: a metric over two parameters, over each of many, and against another metric."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from weightmath.algebra.graph import is_number
from weightmath.lab.report.chart import (
    COLOURS,
    SEQUENTIAL,
    Chart,
    Trace,
    axis,
    dots,
    gaps,
    label,
    line,
    names_axis,
    slug,
    value_text,
)
from weightmath.lab.report.places import places_of
from weightmath.lab.table import Row, Table

Grid = tuple[list[float], list[float]]
_CONTOURS_FROM = 4


def grid_of(table: Table, x: str, y: str) -> Grid | None:
    """The lines of the grid that the rows are on, apart from models that lie between them; None where there is none."""
    xs, ys = (_grid_lines([float(value) for value in table.column(name)]) for name in (x, y))
    there = {(row.params[x], row.params[y]) for row in table.rows}
    whole = min(len(xs), len(ys)) >= 2 and all((a, b) in there for a in xs for b in ys)
    return (xs, ys) if whole else None


def _grid_lines(values: Sequence[float]) -> list[float]:
    """Each line of a grid has as many points as the other axis has lines; a model between them has few."""
    often = Counter(values)
    most = max(often.values(), default=0)
    return sorted(value for value, count in often.items() if 2 * count > most)


def plane(table: Table, x: str, y: str, grid: Grid, metric: str) -> Chart:
    """A metric over two parameters: contours, and the models where they lie; brighter is better."""
    places = places_of(table)
    titles = table.head.about.get("axes", {})
    lengths = table.head.what == "plane"
    same_scale = {"scaleanchor": "x"} if lengths else {}
    notes = ["Brighter is better."] if metric in table.head.goal else []
    notes += ["Both axes are in units of length in weight space: distances are true."] if lengths else []
    layout = {
        "xaxis": axis(titles.get(x, x), showgrid=False, constrain="domain"),
        "yaxis": {**axis(titles.get(y, y), showgrid=False, constrain="domain"), **same_scale},
        "showlegend": False,
        "annotations": [_name_of(name, place) for name, place in places],
    }
    data = (_field(table, x, y, grid, metric), *([_models(places)] if places else []))
    return Chart(slug(metric, "over", x, y), f"{metric} over {x} and {y}", " ".join(notes), data, layout, square=True)


def _field(table: Table, x: str, y: str, grid: Grid, metric: str) -> Trace:
    rows = {(row.params[x], row.params[y]): row for row in table.rows}
    xs, ys = grid
    smooth = min(len(xs), len(ys)) >= _CONTOURS_FROM
    contours = {"type": "contour", "ncontours": 16, "line": {"width": 0.5, "color": "rgba(255,255,255,0.45)"}}
    return {
        **(contours if smooth else {"type": "heatmap"}),
        "x": xs,
        "y": ys,
        "z": [gaps([rows[a, b].metrics[metric] for a in xs]) for b in ys],
        "customdata": [[rows[a, b].index for a in xs] for b in ys],
        "colorscale": SEQUENTIAL,
        "reversescale": table.head.goal.get(metric) == "min",
        "colorbar": {"title": {"text": label(metric), "side": "right"}},
        "hovertemplate": f"{label(x)} %{{x:.4g}}<br>{label(y)} %{{y:.4g}}<br>{label(metric)} %{{z:.4g}}<extra></extra>",
    }


def _models(places: Sequence[tuple[str, Sequence[float]]]) -> Trace:
    """Dots that stand out on any colour."""
    return dots(
        [x for _, (x, _) in places],
        [y for _, (_, y) in places],
        text=[label(name) for name, _ in places],
        marker={"color": "#ffffff", "size": 10, "line": {"color": "#1d1f22", "width": 1.5}},
        hovertemplate="%{text}: %{x:.4g}, %{y:.4g}<extra></extra>",
        cliponaxis=False,
    )


def _name_of(name: str, place: Sequence[float]) -> dict[str, Any]:
    """A name above its dot, dark on light in either theme, since it lies on the colours of the plane."""
    paper = {"bgcolor": "rgba(255,255,255,0.85)", "borderpad": 2, "font": {"color": "#1d1f22", "size": 12}}
    return {"x": place[0], "y": place[1], "text": label(name), "showarrow": False, "yshift": 17, **paper}


def by_param(table: Table, param: str, metric: str) -> Chart:
    """The metric of all points against one parameter, whatever the others are; the best point is ringed."""
    values, best = table.column(param), table.best(metric)
    numeric = all(map(is_number, values))
    rows = table.rows
    ring = {"size": 15, "color": "rgba(0,0,0,0)", "line": {"color": COLOURS[1], "width": 2}}
    traces = [_points(rows, values, table.column(metric))]
    if best is not None:
        traces.append(dots([best.params[param]], [best.metrics[metric]], marker=ring, hoverinfo="skip"))
    horizontal = axis(param, values) if numeric else names_axis(param)
    layout = {"xaxis": horizontal, "yaxis": axis(metric), "showlegend": False}
    name, title = slug(metric, "by", param), f"{metric} by {param}"
    return Chart(name, title, "The best is ringed.", tuple(traces), layout, square=True)


def trade_off(table: Table, one: str, other: str) -> Chart:
    """One metric against another, and the front: the points that none beats in all goals."""
    front = sorted(table.pareto(), key=lambda row: row.metrics[one])
    ends = [row.metrics[one] for row in front], [row.metrics[other] for row in front]
    edge = line(*ends, COLOURS[1], points=[row.index for row in front])
    points = _points(table.rows, table.column(one), table.column(other))
    layout = {"xaxis": axis(one), "yaxis": axis(other), "showlegend": False}
    note = f"The line joins the Pareto front over {', '.join(table.head.goal)}: no point is better in all of them."
    return Chart(slug(other, "against", one), f"{other} against {one}", note, (points, edge), layout, square=True)


def _points(rows: Sequence[Row], x: Sequence[Any], y: Sequence[float]) -> Trace:
    texts = [label(", ".join(f"{name} = {value_text(value)}" for name, value in row.params.items())) for row in rows]
    hover = "%{text}<br>%{y:.4g}<extra></extra>"
    return dots(x, y, points=[row.index for row in rows], text=texts, hovertemplate=hover)
