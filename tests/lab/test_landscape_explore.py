"""Landscapes measured: what a metric is given, barriers, files that are kept, tables that are gone on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.lab.landscapes import save_models, state
from weightmath.lab.landscape import views
from weightmath.lab.landscape.barrier import barriers
from weightmath.lab.landscape.explore import explore, prepare_view
from weightmath.lab.landscape.robustness import robustness
from weightmath.lab.metric import parse_metric
from weightmath.lab.points import jobs_of
from weightmath.lab.table import read

State = dict[str, Any]


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    return save_models(tmp_path)


class Metric:
    """A sum of squares, which is convex; it remembers the states that it was given."""

    def __init__(self) -> None:
        self.states: list[State] = []

    def __call__(self, given: State) -> float:
        self.states.append({name: tensor.clone() for name, tensor in given.items()})
        return float(sum(tensor.double().square().sum() for tensor in given.values()))


def test_the_ends_of_a_line_are_the_models_to_the_bit(paths: dict[str, Path]) -> None:
    metric = Metric()
    table = explore(views.line(paths["a"], paths["b"], points=5), metric, goal="min")
    for found, seed in ((metric.states[0], 0), (metric.states[-1], 1)):
        for name, tensor in state(seed).items():
            assert torch.equal(found[name], tensor), name
    assert table.head.what == "line"
    assert table.column("t") == [0, 0.25, 0.5, 0.75, 1]
    (found,) = barriers(table)
    assert (found.height, found.at) == (0, 0)  # convex: no point lies above the straight line


def test_of_a_convex_metric_to_maximise_the_barrier_is_in_the_middle(paths: dict[str, Path]) -> None:
    table = explore(views.line(paths["a"], paths["b"], points=5), Metric(), goal="max")
    (found,) = barriers(table)
    a, b = (torch.cat([x.double().flatten() for x in state(seed).values()]) for seed in (0, 1))
    assert found.at == 0.5
    assert found.height == pytest.approx(float(a @ a + b @ b) / 2 - float(((a + b) / 2) @ ((a + b) / 2)), rel=1e-5)


def test_a_plane_measures_each_model_where_it_marks_it(paths: dict[str, Path]) -> None:
    metric = Metric()
    view = views.plane(*paths.values(), points=2)
    table = explore(view, metric)
    for i in range(3):
        assert list(table.rows[i].params.values()) == table.head.about["models"][i]["place"]
        for name, tensor in state(i).items():
            torch.testing.assert_close(metric.states[i][name], tensor, rtol=1e-6, atol=1e-6)
    assert len(table.rows) == 7


def test_the_middle_of_a_neighbourhood_is_the_model_to_the_bit(paths: dict[str, Path]) -> None:
    metric = Metric()
    explore(views.around(paths["a"], points=3), metric)
    for name, tensor in state(0).items():
        assert torch.equal(metric.states[4][name], tensor), name


def test_noise_gives_a_curve(paths: dict[str, Path]) -> None:
    table = explore(views.noise(paths["a"], [0.1, 0.2], seeds=3), Metric(), goal="min")
    assert [(level.scale, level.seeds) for level in robustness(table)] == [(0, 1), (0.1, 3), (0.2, 3)]
    again = explore(views.noise(paths["a"], [0.1, 0.2], seeds=3), Metric(), goal="min")
    assert again.column("metric") == table.column("metric")


def test_eleven_points_that_are_kept_are_one_pass_over_two_checkpoints(tmp_path: Path, paths: dict[str, Path]) -> None:
    metric = parse_metric(Metric())
    sweep = prepare_view(views.line(paths["a"], paths["b"]), metric, keep="all", stem=tmp_path / "line")
    ((points, job),) = jobs_of(sweep.study.ground, sweep.points, sweep.study.place, provenance=True)
    assert len(points) == len(job.saves) == 11
    (only,) = job.plan.passes
    assert [vector.source.name for vector in only.reads if vector.source] == ["a", "b"]


def test_kept_points_are_named_by_their_place(tmp_path: Path, paths: dict[str, Path]) -> None:
    table = explore(views.line(paths["a"], paths["b"], points=3), Metric(), keep="all", out=tmp_path / "line")
    assert [row.checkpoint for row in table.rows] == ["line_0.ckpt", "line_0.5.ckpt", "line_1.ckpt"]
    middle = torch.load(tmp_path / "line_0.5.ckpt", weights_only=True)
    torch.testing.assert_close(middle["fc.weight"], (state(0)["fc.weight"] + state(1)["fc.weight"]) / 2)


def test_a_table_that_was_cut_is_gone_on_with(tmp_path: Path, paths: dict[str, Path]) -> None:
    view = views.plane(*paths.values(), points=3)
    whole = explore(view, Metric(), out=tmp_path / "plane")
    file = tmp_path / "plane.jsonl"
    file.write_text("\n".join(file.read_text().splitlines()[:5]) + "\n")
    metric = Metric()
    explore(views.plane(*paths.values(), points=3), metric, out=tmp_path / "plane", resume=True)
    assert len(metric.states) == len(view.points) - 4
    again = read(file)
    assert [(row.params, row.metrics) for row in again.rows] == [(row.params, row.metrics) for row in whole.rows]


def test_a_hook_recomputes_statistics_before_each_measurement(paths: dict[str, Path]) -> None:
    def recompute(given: State) -> State:
        return {"bn.running_var": given["fc.weight"][:4, 0].square()}

    metric = Metric()
    table = explore(views.line(paths["a"], paths["b"], points=3), metric, recalibrate=recompute)
    assert "recompute" in table.head.about["recalibrate"]
    for found in metric.states:
        assert torch.equal(found["bn.running_var"], found["fc.weight"][:4, 0].square())


def test_from_python(paths: dict[str, Path]) -> None:
    import weightmath as wm

    view = wm.landscape.plane(*(str(path) for path in paths.values()), points=3)
    x, y, values = wm.landscape.surface(wm.landscape.explore(view, Metric()), "metric")
    assert values.shape == (len(y), len(x)) == (3, 3)
    assert not torch.isnan(torch.tensor(values)).any()
