"""What charts show is what the tables hold; and plotly takes every one of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from plotly.graph_objects import Figure

from tests.lab.report import results
from tests.lab.report.results import TABLES, table
from weightmath.lab.report.chart import Chart, label
from weightmath.lab.report.sections import charts_of, of_table
from weightmath.lab.table import Table

NAMES = {
    "sweep": ["old-new-along-alpha", "loss-along-alpha"],
    "split": ["share-along-kept"],
    "line": ["loss-along-t"],
    "plane": ["loss-over-x-y", "accuracy-over-x-y"],
    "noise": ["accuracy-noise"],
    "soup": ["score-soup"],
    "search": [
        *(f"{metric}-progress" for metric in ("chat", "code")),
        "code-against-chat",
        *(f"{metric}-by-{param}" for metric in ("chat", "code") for param in ("alpha", "density", "method")),
    ],
}


@pytest.mark.parametrize("kind", TABLES)
def test_each_table_has_the_charts_that_fit_it(kind: str) -> None:
    charts = charts_of(TABLES[kind]())
    assert [chart.name for chart in charts] == NAMES[kind]
    for chart in charts:
        Figure(chart.as_plotly())  # which knows every property there is, and refuses others
        json.dumps(chart.as_plotly(), allow_nan=False)
        assert chart.layout["xaxis"]["title"]["text"]
        assert chart.layout["yaxis"]["title"]["text"]


def test_plotly_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="colour"):
        Figure(Chart("a", "a", "", ({"type": "scatter", "colour": "red"},)).as_plotly())


def traces(make: Callable[[], Table], name: str) -> tuple[dict[str, Any], ...]:
    return next(chart.data for chart in charts_of(make()) if chart.name == name)


def test_shares_are_drawn_together_and_a_loss_alone() -> None:
    together = traces(results.sweep, "old-new-along-alpha")
    assert [trace["name"] for trace in together] == ["old", "new"]
    assert together[0]["y"] == results.sweep().column("old")
    assert together[1]["x"] == results.sweep().column("alpha")
    assert [trace["y"] for trace in traces(results.sweep, "loss-along-alpha")] == [results.sweep().column("loss")]


def test_what_counts_comes_first_and_a_loss_is_no_share() -> None:
    whole = results.sweep()
    small = replace(whole.head, metrics=("old", "new", "loss"), goal={"new": "max"})
    low = tuple(replace(row, metrics={**row.metrics, "loss": row.metrics["loss"] / 2}) for row in whole.rows)
    assert [chart.name for chart in charts_of(Table(small, low))] == ["new-old-loss-along-alpha"]
    by_loss = replace(small, goal={"loss": "min"})
    assert [chart.name for chart in charts_of(Table(by_loss, low))] == ["loss-along-alpha", "old-new-along-alpha"]


def test_a_word_splits_curves_which_are_sorted() -> None:
    density, none = traces(results.split, "share-along-kept")
    assert (density["name"], none["name"]) == ("rescale density", "rescale none")
    assert none["x"] == none["y"] == [0.01, 0.1, 1]
    assert density["customdata"] == [2, 4, 0]
    assert charts_of(results.split())[0].layout["xaxis"]["type"] == "log"


def test_a_line_has_its_barrier() -> None:
    chart = charts_of(results.line())[0]
    losses = np.array(results.line().column("loss"))
    over = losses - np.linspace(losses[0], losses[-1], 5)
    assert chart.note.startswith(f"Barrier of loss: {over.max():.4g}, at t = 0.5; max over t in 0..1 of loss(t)")
    assert (chart.data[1]["x"], chart.data[1]["y"]) == ([0, 1], [0.1, 0.3])
    assert [shape["x0"] for shape in chart.layout["shapes"]] == [0, 1]
    # Both files are called alike, so that the models are called as in the recipe.
    assert [name["text"] for name in chart.layout["annotations"]] == ["a", "b"]
    assert ("barrier of loss", f"{over.max():.4g} at t = 0.5") in of_table(results.line(), "line").facts


def test_a_plane_has_its_grid_and_its_models() -> None:
    field, models = traces(results.plane, "loss-over-x-y")
    assert field["type"] == "contour"
    assert (len(field["x"]), len(field["y"])) == (13, 11)
    for j, y in enumerate(field["y"]):
        for i, x in enumerate(field["x"]):
            assert field["z"][j][i] == results.bowl(x, y)
            row = results.plane().rows[field["customdata"][j][i]]
            assert (row.params["x"], row.params["y"]) == (x, y)
    assert list(zip(models["x"], models["y"], strict=True)) == list(results.PLACES.values())
    assert models["text"] == ["a-1", "b-1", "c-1"]
    assert field["reversescale"] is True  # of a loss, low is bright
    assert traces(results.plane, "accuracy-over-x-y")[0]["reversescale"] is False


def test_points_on_no_grid_are_drawn_one_by_one() -> None:
    whole = results.plane()
    some = Table(whole.head, whole.rows[:-1])
    assert [chart.name for chart in charts_of(some)] == ["loss-by-x", "loss-by-y"]


def test_noise_has_the_mean_of_each_scale() -> None:
    upper, lower, draws, mean = traces(results.noise, "accuracy-noise")
    values = np.array(results.noise().column("accuracy")).reshape(3, 4)
    np.testing.assert_allclose(mean["y"], values.mean(1))
    np.testing.assert_allclose(draws["y"], values.ravel())
    half = 3.182446 * values.std(1, ddof=1) / 2  # the 97.5% quantile of Student's t with 3 degrees of freedom
    np.testing.assert_allclose(upper["y"], values.mean(1) + half, rtol=1e-6)
    np.testing.assert_allclose(lower["y"], values.mean(1) - half, rtol=1e-6)


def test_one_draw_has_no_interval() -> None:
    whole = results.noise()
    once = Table(whole.head, tuple(row for row in whole.rows if row.params["seed"] == 0))
    (chart,) = charts_of(once)
    assert [trace["name"] for trace in chart.data] == ["one draw", "mean"]
    assert chart.note == ""


def test_a_search_shows_its_progress() -> None:
    tried, best = traces(results.search, "chat-progress")
    values = np.array(results.search().column("chat"))
    known = np.delete(values, 7)
    np.testing.assert_array_equal(tried["y"], known)
    np.testing.assert_array_equal(best["y"], np.maximum.accumulate(known))
    less = replace(results.search().head, goal={"chat": "min"})
    lowest = next(c for c in charts_of(Table(less, results.search().rows)) if c.name == "chat-progress").data[1]
    np.testing.assert_array_equal(lowest["y"], np.minimum.accumulate(known))


def test_a_soup_shows_each_model_and_what_it_adds() -> None:
    chart = charts_of(results.soup())[0]
    alone, average = chart.data
    assert chart.layout["xaxis"]["ticktext"] == ["c.ckpt", "b.ckpt", "a.ckpt"]  # the best first
    assert (alone["y"], alone["customdata"]) == ([0.95, 0.9, 0.85], [1, 0, 2])
    assert (average["x"], average["y"]) == ([1, 2], [0.97, 0.96])
    assert average["marker"]["symbol"] == ["circle", "circle-open"]
    assert dict(of_table(results.soup(), "soup").facts)["best score (max)"] == "0.97, of c.ckpt + b.ckpt"


def test_a_uniform_soup_has_one_average() -> None:
    whole = results.soup()
    head = replace(whole.head, about={"rule": "uniform"})
    chart = charts_of(Table(head, whole.rows[:4]))[0]
    assert (chart.data[1]["x"], chart.data[1]["y"], chart.note) == ([2], [0.97], "")


def test_a_trade_off_shows_the_front() -> None:
    points, front = traces(results.search, "code-against-chat")
    assert points["y"] == results.search().column("code")
    chat, code = (np.array(results.search().column(name)) for name in ("chat", "code"))
    beaten = [np.any((chat >= a) & (code >= b) & ((chat > a) | (code > b))) for a, b in zip(chat, code, strict=True)]
    expected = sorted((a, b) for a, b, worse in zip(chat, code, beaten, strict=True) if not worse and not math.isnan(a))
    assert list(zip(front["x"], front["y"], strict=True)) == expected


def test_the_best_of_a_search_is_ringed() -> None:
    points, ring = traces(results.search, "chat-by-density")
    best = int(np.nanargmax(results.search().column("chat")))
    assert (ring["x"], ring["y"]) == ([points["x"][best]], [points["y"][best]])
    assert points["y"][7] is None  # NaN is a gap


def test_numbers_that_are_none_are_gaps() -> None:
    odd = table("sweep", [({"a": i}, {"m": value}) for i, value in enumerate((1.0, math.nan, -math.inf))], {})
    assert charts_of(odd)[0].data[0]["y"] == [1.0, None, None]


def test_names_are_no_markup() -> None:
    hostile = "<a href='http://example.com'>x</a>&amp;"
    (chart,) = charts_of(table("sweep", [({hostile: i}, {hostile: float(i)}) for i in range(3)], {}))
    assert "<a" not in json.dumps(chart.as_plotly())
    assert label(hostile) == "&lt;a href='http://example.com'&gt;x&lt;/a&gt;&amp;amp;"
