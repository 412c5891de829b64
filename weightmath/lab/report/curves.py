"""Charts over one axis: metrics along a parameter, robustness to noise, the progress of a search, a soup's models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from weightmath.lab.landscape.barrier import Barrier, barriers
from weightmath.lab.landscape.robustness import CONFIDENCE, Level, robustness
from weightmath.lab.report.chart import COLOURS, GREY, Chart, Trace, axis, colour, dots, faint, label, line, slug
from weightmath.lab.report.places import places_of
from weightmath.lab.table import Row, Table


def curves(table: Table, param: str) -> list[Chart]:
    """The metrics along one numeric parameter: shares, which are all within 0 to 1, in one chart, each other one alone.

    On a line between models each metric with a goal has its chord and its barrier.
    """
    rows = sorted(table.rows, key=lambda row: float(row.params[param]))
    found = barriers(table) if table.head.what == "line" else ()
    charts = []
    for group in _groups(table):
        own = [one for one in found if one.metric in group]
        lines = [_curve(rows, param, metric, metric, number) for number, metric in enumerate(group)]
        chords = [_chord(table, one, group.index(one.metric)) for one in own]
        layout = {**_layout(table, param, group), **_marks(table, param)}
        title, note = f"{' · '.join(group)} along {param}", " ".join(map(_barrier_note, own))
        charts.append(Chart(slug(*group[:3], "along", param), title, note, (*lines, *chords), layout))
    return charts


def split_curves(table: Table, param: str, split: str) -> list[Chart]:
    """Each metric along one numeric parameter, a curve for each value of another parameter."""
    values = dict.fromkeys(str(row.params[split]) for row in table.rows)
    rows = sorted(table.rows, key=lambda row: float(row.params[param]))
    parts = {f"{split} {value}": [row for row in rows if str(row.params[split]) == value] for value in values}
    charts = []
    for metric in table.head.metrics:
        lines = [_curve(part, param, metric, name, number) for number, (name, part) in enumerate(parts.items())]
        layout = {**_layout(table, param, [metric]), "showlegend": True}
        charts.append(Chart(slug(metric, "along", param), f"{metric} along {param}", "", tuple(lines), layout))
    return charts


def _groups(table: Table) -> list[list[str]]:
    """Metrics by chart, those with a goal first. What is to be small is no share of what is right."""
    goal = table.head.goal
    names = sorted(table.head.metrics, key=lambda name: name not in goal)
    shares = [name for name in names if goal.get(name) != "min" and all(0 <= it <= 1 for it in table.column(name))]
    groups = [[name] for name in names if name not in shares] + ([shares] if shares else [])
    return sorted(groups, key=lambda group: not goal.keys() & set(group))


def _curve(rows: Sequence[Row], param: str, metric: str, name: str, number: int) -> Trace:
    hover = f"{label(param)} %{{x:.4g}}<br>{label(metric)} %{{y:.4g}}<extra></extra>"
    x = [row.params[param] for row in rows]
    return line(x, _scores(rows, metric), colour(number), name=name, points=_numbers(rows), hovertemplate=hover)


def _layout(table: Table, param: str, metrics: Sequence[str]) -> dict[str, Any]:
    title = str(table.head.about.get("axes", {}).get(param, param))
    return {
        "xaxis": axis(title, table.column(param)),
        "yaxis": axis(metrics[0] if len(metrics) == 1 else "value"),
        "showlegend": len(metrics) > 1,
        "hovermode": "closest",
    }


def _marks(table: Table, param: str) -> dict[str, Any]:
    """A dotted line with a name where each model lies."""
    if table.head.params != (param,):
        return {}
    places = [(name, place[0]) for name, place in places_of(table)]
    upright = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "line": {"dash": "dot", "width": 1, "color": GREY}}
    beside = {"y": 0, "yref": "paper", "yanchor": "bottom", "xanchor": "left", "xshift": 4, "showarrow": False}
    return {
        "shapes": [{**upright, "x0": x, "x1": x} for _, x in places],
        "annotations": [{**beside, "x": x, "text": label(name)} for name, x in places],
    }


def _chord(table: Table, barrier: Barrier, number: int) -> Trace:
    """The straight line between the ends that a barrier is measured from."""
    ends = {row.params["t"]: row.metrics[barrier.metric] for row in table.rows if row.params["t"] in (0, 1)}
    thin = {"color": colour(number), "width": 1, "dash": "dot"}
    more = {"mode": "lines", "line": thin, "showlegend": False, "hoverinfo": "skip"}
    return {**line([0, 1], [ends[0], ends[1]], colour(number)), **more}


def _barrier_note(barrier: Barrier) -> str:
    return f"Barrier of {barrier.metric}: {barrier.height:.4g}, at t = {barrier.at:.4g}; {barrier.definition}."


def noise(table: Table) -> list[Chart]:
    """Each metric against the scale of noise: its mean over seeds, the interval of that mean, the single draws."""
    levels = robustness(table)
    return [_noise(table, metric, [one for one in levels if one.metric == metric]) for metric in table.head.metrics]


def _noise(table: Table, metric: str, levels: Sequence[Level]) -> Chart:
    scales = [level.scale for level in levels]
    small = {"color": faint(COLOURS[0], 0.45), "size": 5}
    numbers, values = _numbers(table.rows), _scores(table.rows, metric)
    draws = dots(table.column("scale"), values, name="one draw", points=numbers, marker=small)
    mean = line(scales, [level.mean for level in levels], COLOURS[0], name="mean")
    layout = {
        "xaxis": axis("scale of the noise, in standard deviations of each tensor", scales),
        "yaxis": axis(metric),
    }
    band, seeds = _band(levels), max(level.seeds for level in levels)
    note = f"The band holds the mean with {CONFIDENCE:.0%} confidence (Student's t, {seeds} draws of noise each)."
    return Chart(slug(metric, "noise"), f"{metric} under noise", note if band else "", (*band, draws, mean), layout)


def _band(levels: Sequence[Level]) -> list[Trace]:
    """The interval of the mean, where there are draws enough for one: its upper edge, and its lower one filled up."""
    known = [level for level in levels if level.low is not None]
    edge = {"mode": "lines", "hoverinfo": "skip", "showlegend": False, "line": {"width": 0}}
    filled = {"fill": "tonexty", "fillcolor": faint(COLOURS[0])}
    scales = [level.scale for level in known]
    upper, lower = ([getattr(level, side) for level in known] for side in ("high", "low"))
    edges = [{**line(scales, upper, COLOURS[0]), **edge}, {**line(scales, lower, COLOURS[0]), **edge, **filled}]
    return edges if known else []


def progress(table: Table, metric: str) -> Chart:
    """The metric of each point of a search in the order of evaluation, and the best so far."""
    low = table.head.goal.get(metric) == "min"
    known = [row for row in table.rows if not math.isnan(row.metrics[metric])]
    numbers, values = _numbers(known), _scores(known, metric)
    tried = dots(numbers, values, name="tried", points=numbers)
    so_far: list[float] = list(accumulate(values, min if low else max))
    steps = {"mode": "lines", "line": {"color": COLOURS[1], "width": 2, "shape": "hv"}}
    best = {**line(numbers, so_far, COLOURS[1], name="best so far"), **steps}
    layout = {"xaxis": axis("evaluation"), "yaxis": axis(metric)}
    return Chart(slug(metric, "progress"), f"{metric}, evaluation by evaluation", "", (tried, best), layout)


def soup(table: Table) -> Chart:
    """Each model alone, the best first, and the averages: by the greedy rule one with each next model."""
    (metric,) = table.head.metrics
    sign = -1 if table.head.goal.get(metric) == "min" else 1
    rows = [row for row in table.rows if row.params["stage"] == "alone"]
    alone = sorted(rows, key=lambda row: (math.isnan(row.metrics[metric]), -sign * row.metrics[metric]))
    averages = [row for row in table.rows if row.params["stage"] == "soup"]
    greedy = table.head.about.get("rule") == "greedy"
    # The greedy rule goes through the models in this order, and begins with the best.
    places = range(1, len(averages) + 1) if greedy else [len(alone) - 1] * len(averages)
    big = {"color": COLOURS[0], "size": 9}
    symbols = ["circle" if row.about.get("kept") else "circle-open" for row in averages]
    tried = line(places, _scores(averages, metric), COLOURS[1], name="average", points=_numbers(averages))
    traces = (
        {**dots(range(len(alone)), _scores(alone, metric), name="alone", points=_numbers(alone)), "marker": big},
        {**tried, "marker": {**big, "color": COLOURS[1], "symbol": symbols}},
    )
    names = [label(row.params["model"]) for row in alone]
    layout = {"xaxis": axis("model", tickvals=list(range(len(names))), ticktext=names), "yaxis": axis(metric)}
    note = "Each average is of a model and those kept before it. A ring was worse than without it, which is left out."
    return Chart(slug(metric, "soup"), f"{metric} of models and their averages", note if greedy else "", traces, layout)


def _scores(rows: Sequence[Row], metric: str) -> list[float]:
    return [row.metrics[metric] for row in rows]


def _numbers(rows: Sequence[Row]) -> list[int]:
    return [row.index for row in rows]
