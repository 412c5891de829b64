"""Charts of several checkpoints side by side, from what `weightmath compare --json` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from weightmath.lab.report.chart import (
    COLOURS,
    DIVERGING,
    SEQUENTIAL,
    Chart,
    Numbers,
    Trace,
    axis,
    colour,
    dots,
    label,
    line,
    names_axis,
)

Report = Mapping[str, Any]
_NUMBERS_UP_TO = 12  # models, for which cells of a matrix hold their number as text
_LINES_UP_TO = 8  # lines that an eye can tell apart
_UPRIGHT_UP_TO, _SLANTED_UP_TO = 8, 24  # names along an axis


def charts_of(report: Report) -> list[Chart]:
    """All charts that a comparison has the numbers for."""
    charts = []
    if len(report["models"]) > 1:
        charts += [_map(report), *_matrices(report)]
    charts += _layers(report)
    if len(report["models"]) > 2:
        charts.append(_drift(report))
    return charts + (_spectra(report) if report["spectrum"] else [])


def _subject(report: Report) -> str:
    return "weights" if report["of"] == "models" else f"changes from {report['base']}"


# --- models


def _map(report: Report) -> Chart:
    traces = [_places(report["models"], report["map"], marker={"size": 11, "color": COLOURS[0]})]
    if report["base"] is not None:
        other = {"size": 11, "color": COLOURS[1], "symbol": "diamond"}
        traces.append(_places([report["base"]], [report["map_base"]], marker=other))
    layout = {
        "xaxis": axis("distance in weight space"),
        "yaxis": axis("distance in weight space", scaleanchor="x"),
        "showlegend": False,
    }
    note = (
        f"Classical scaling: the plane that shows the distances best holds {report['map_share']:.0%} of the squared "
        "distances from the centre. Directions mean nothing by themselves."
    )
    return Chart("map", "Map of the models", note, tuple(traces), layout, square=True)


def _places(names: Sequence[str], places: Sequence[Sequence[float]], **more: Any) -> Trace:
    shown = {"mode": "markers+text", "text": [label(name) for name in names], "textposition": "top center"}
    hover = {"hovertemplate": "%{text}: %{x:.4g}, %{y:.4g}<extra></extra>", "cliponaxis": False}
    return {**dots([x for x, _ in places], [y for _, y in places]), **shown, **hover, **more}


def _matrices(report: Report) -> list[Chart]:
    of = _subject(report)
    charts = [
        _matrix(report, "cosine", f"Cosine of the {of}", "1 is the same direction, 0 at right angles, -1 opposite."),
        _matrix(report, "distance", "Distance between models", "Euclidean, over all elements that are compared."),
        _matrix(report, "opposed", f"Opposite signs of the {of}", "The share of elements whose signs are opposite."),
    ]
    if report["overlap"] is not None:
        note = f"The share of one's largest elements, {report['density']:.4g} of all, that are among the other's."
        charts.append(_matrix(report, "overlap", f"Overlap of the largest {of}", note))
    return charts


def _matrix(report: Report, key: str, title: str, note: str) -> Chart:
    """A heat map of pairs. The diagonal, which says nothing, is blank: it would stretch the scale of the others."""
    cells = [[None if i == j else number for j, number in enumerate(row)] for i, row in enumerate(report[key])]
    signed = any(number is not None and number < 0 for row in cells for number in row)
    names = [label(name) for name in report["models"]]
    field: Trace = {
        "type": "heatmap",
        "x": names,
        "y": names,
        "z": cells,
        "hoverongaps": False,
        "xgap": 1,
        "ygap": 1,
        "hovertemplate": f"%{{y}} and %{{x}}<br>{key} %{{z:.6g}}<extra></extra>",
        **({"colorscale": DIVERGING, "zmid": 0} if signed else {"colorscale": SEQUENTIAL}),
        **({"texttemplate": "%{z:.4~g}"} if len(names) <= _NUMBERS_UP_TO else {}),
    }
    sides = names_axis(showgrid=False, ticks="")
    return Chart(key, title, note, (field,), {"xaxis": sides, "yaxis": {**sides, "autorange": "reversed"}}, square=True)


def _drift(report: Report) -> Chart:
    lines = {"way travelled": report["drift"]["travelled"], "distance from the first": report["drift"]["from_start"]}
    note = "The models in the order in which they were given. Where both lines are one, the way is straight."
    along = ("model", report["models"])
    return _lines("drift", "Drift along the models", note, along, lines, "distance in weight space")


# --- layers and matrices


def _layers(report: Report) -> list[Chart]:
    """Each layer's change against the reference, its drift from model to model, and how far the models agree there."""
    layers, models = report["layers"], report["models"]
    along = ("layer", [layer["name"] for layer in layers])
    changed = {name: _column(layers, "relative_changes", i) for i, name in enumerate(models)}
    changed.pop(report["reference"], None)
    charts = []
    if changed:
        title = f"Relative change of each layer against {report['reference']}"
        note = "The norm of the layer's change over the norm of the layer."
        charts.append(_lines("layer-change", title, note, along, changed, "relative change"))
    if len(models) > 2:
        steps = {f"{a} → {b}": _column(layers, "steps", i) for i, (a, b) in enumerate(pairwise(models))}
        note = "The distance from each model to the next, in the order in which they were given."
        charts.append(_lines("layer-drift", "Drift of each layer", note, along, steps, "distance"))
    if len(models) > 1:
        lowest = {"lowest cosine": [layer["lowest_cosine"] for layer in layers]}
        title, note = f"Agreement of the {_subject(report)} in each layer", "The least cosine of any two models."
        charts.append(_lines("layer-cosine", title, note, along, lowest, "lowest cosine"))
    return charts


def _column(rows: Sequence[Mapping[str, Any]], key: str, number: int) -> list[float | None]:
    return [row[key][number] for row in rows]


def _spectra(report: Report) -> list[Chart]:
    rows, models = report["spectrum"], report["models"]
    along = ("tensor", [row["name"] for row in rows])
    ranks = {name: _column(rows, "effective_rank", i) for i, name in enumerate(models)}
    note = "exp of the entropy of the singular values: how many directions of equal size would be as spread."
    charts = [_lines("effective-rank", f"Effective rank of the {_subject(report)}", note, along, ranks, "rank")]
    return [*charts, _singular_values(max(rows, key=lambda row: len(row["values"][0])), models)]


def _singular_values(row: Mapping[str, Any], models: Sequence[str]) -> Chart:
    # What has no logarithm is a gap.
    values = [[value if value is not None and value > 0 else None for value in own] for own in row["values"]]
    traces = tuple(
        line(range(1, len(own) + 1), own, colour(number), name=model, mode="lines")
        for number, (model, own) in enumerate(zip(models, values, strict=True))
    )
    layout = {"xaxis": axis("number"), "yaxis": axis("singular value", [value for own in values for value in own])}
    note = "The matrix that has most of them."
    return Chart("singular-values", f"Singular values of {row['name']}", note, traces, layout)


def _lines(
    name: str, title: str, note: str, along: tuple[str, Sequence[str]], values: Mapping[str, Numbers], unit: str
) -> Chart:
    """Lines over names; where there are too many lines to tell apart, a heat map."""
    title_of_axis, names = along[0], [label(one) for one in along[1]]
    angle = 0 if len(names) <= _UPRIGHT_UP_TO else -45 if len(names) <= _SLANTED_UP_TO else -90
    horizontal = names_axis(title_of_axis, tickangle=angle, tickfont={"size": 12 if angle > -90 else 10})
    if len(values) <= _LINES_UP_TO:
        hover = "%{x}: %{y:.4g}<extra>%{fullData.name}</extra>"
        numbered = enumerate(values.items())
        traces = tuple(line(names, own, colour(i), name=one, hovertemplate=hover) for i, (one, own) in numbered)
        return Chart(
            name, title, note, traces, {"xaxis": horizontal, "yaxis": axis(unit), "showlegend": len(values) > 1}
        )
    field = {
        "type": "heatmap",
        "x": names,
        "y": [label(one) for one in values],
        "z": [list(own) for own in values.values()],
        "colorscale": SEQUENTIAL,
        "colorbar": {"title": {"text": unit, "side": "right"}},
    }
    return Chart(name, title, note, (field,), {"xaxis": horizontal, "yaxis": names_axis(autorange="reversed")})
