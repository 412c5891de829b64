"""Barriers by their definition, and robustness curves against scipy's own interval."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from weightmath.errors import TableError
from weightmath.lab.landscape.barrier import barriers
from weightmath.lab.landscape.robustness import robustness
from weightmath.lab.landscape.surface import surface
from weightmath.lab.table import Head, Row, Table


def line(loss: dict[float, float], goal: str = "min") -> Table:
    head = Head("line", ("t",), ("loss",), {"loss": goal})
    return Table(head, tuple(Row(i, {"t": t}, {"loss": value}) for i, (t, value) in enumerate(loss.items())))


def test_a_barrier_is_the_excess_over_the_straight_line_between_the_ends():
    (found,) = barriers(line({0: 1.0, 0.25: 2.0, 0.5: 3.5, 0.75: 3.0, 1: 3.0}))
    assert (found.metric, found.at) == ("loss", 0.5)
    assert found.height == pytest.approx(3.5 - 2.0)
    assert found.definition == "max over t in 0..1 of loss(t) - ((1 - t) loss(0) + t loss(1))"


def test_of_a_metric_to_maximise_it_is_the_shortfall():
    (found,) = barriers(line({0: 0.9, 0.5: 0.6, 1: 0.8}, "max"))
    assert found.height == pytest.approx(0.85 - 0.6)
    assert found.definition.endswith("- loss(t)")


@pytest.mark.parametrize("goal", ["min", "max"])
def test_a_valley_is_no_barrier_and_points_beyond_the_ends_do_not_count(goal):
    sign = 1 if goal == "min" else -1
    (found,) = barriers(line({-0.5: 99.0, 0: 1.0, 0.5: 1.0 - 0.8 * sign, 1: 1.0, 1.5: -99.0}, goal))
    assert (str(found.height), found.at) == ("0.0", 0)


def test_a_barrier_of_nan_is_not_hidden():
    (found,) = barriers(line({0: 1.0, 0.25: 8.0, 0.5: math.nan, 1: 1.0}))
    assert math.isnan(found.height)
    assert found.at == 0.5


def test_without_both_ends_or_a_goal_there_is_no_barrier():
    assert barriers(line({0: 1.0, 0.5: 2.0})) == ()
    assert barriers(line({0.5: 2.0, 1: 1.0})) == ()
    assert barriers(line({0: 1.0, 1: 2.0}))[0].height == 0, "the ends alone"
    assert barriers(Table(Head("line", ("t",), ("loss",)), (Row(0, {"t": 0}, {"loss": 1}),))) == ()


def test_a_robustness_curve_has_students_interval_of_the_mean_at_each_scale():
    draws = {0.1: [0.9, 0.8, 0.85, 0.7], 0.2: [0.5, 0.6, 0.1, 0.2]}
    cells = [(0.0, 0, 0.95)] + [(scale, seed, value) for scale, own in draws.items() for seed, value in enumerate(own)]
    rows = tuple(
        Row(i, {"scale": scale, "seed": seed}, {"acc": value, "loss": -value})
        for i, (scale, seed, value) in enumerate(cells[::-1])
    )
    levels = robustness(Table(Head("noise", ("scale", "seed"), ("acc", "loss")), rows))
    assert [(level.metric, level.scale) for level in levels[:3]] == [("acc", 0.0), ("acc", 0.1), ("acc", 0.2)]
    assert (levels[0].mean, levels[0].seeds, levels[0].low) == (0.95, 1, None)
    for level, own in zip(levels[1:3], draws.values(), strict=True):
        expected = stats.t.interval(0.95, len(own) - 1, loc=np.mean(own), scale=stats.sem(own))
        assert (level.mean, level.low, level.high) == pytest.approx((np.mean(own), *expected))
        assert level.seeds == 4
    assert levels[4].mean == pytest.approx(-levels[1].mean)


def test_a_surface_is_the_grid_without_the_models_between_its_points():
    about = {"models": [{"name": "a", "path": "a.ckpt", "place": [0.3, 0.7]}]}
    spots = [(0.3, 0.7), (0.0, 0.0), (1.0, 0.0), (2.0, 0.0), (0.0, 5.0), (1.0, 5.0)]
    rows = tuple(Row(i, {"x": x, "y": y}, {"loss": x + 10 * y}) for i, (x, y) in enumerate(spots))
    xs, ys, values = surface(Table(Head("plane", ("x", "y"), ("loss",), about=about), rows), "loss")
    np.testing.assert_array_equal(xs, [0, 1, 2])
    np.testing.assert_array_equal(ys, [0, 5])
    np.testing.assert_array_equal(values, [[0, 1, 2], [50, 51, np.nan]])
    with pytest.raises(TableError, match="1 axes"):
        surface(line({0: 1.0}), "loss")
