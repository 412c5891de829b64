"""Comparisons as charts: five real models that were trained elsewhere, against plain numpy on the whole arrays."""

from __future__ import annotations

import copy
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plotly.graph_objects import Figure

from tests.packages import folds
from weightmath.errors import TableError
from weightmath.lab.compare import compare
from weightmath.lab.report.chart import Chart
from weightmath.lab.report.sections import of_comparison, section_of
from weightmath.plain import as_json
from weightmath.reports.comparison import compare_report

Report = dict[str, Any]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("folds") / "folds.json"
    path.write_text(as_json(compare_report(compare(folds(), density=0.1, spectrum=True))))
    return path


@pytest.fixture(scope="module")
def models() -> list[dict[str, np.ndarray]]:
    loaded = [torch.load(path, map_location="cpu", weights_only=True) for path in folds()]
    return [{name: tensor.double().numpy() for name, tensor in sorted(state.items())} for state in loaded]


@pytest.fixture(scope="module")
def charts(found: Path) -> dict[str, Chart]:
    return {chart.name: chart for chart in section_of(found).charts}


def test_everything_that_was_measured_is_drawn(charts: dict[str, Chart], found: Path) -> None:
    expected = "map cosine distance opposed overlap layer-change layer-drift layer-cosine drift effective-rank"
    assert list(charts) == [*expected.split(), "singular-values"]
    for chart in charts.values():
        Figure(chart.as_plotly())
    section = section_of(found)
    assert [sheet.title for sheet in section.sheets] == ["Models", "Layers", "Tensors"]
    assert dict(section.facts)["cosine"] == "0.9596 to 0.9783"


def test_cosines_and_distances(charts: dict[str, Chart], models: list[dict[str, np.ndarray]]) -> None:
    flat = [np.concatenate([tensor.ravel() for tensor in model.values()]) for model in models]
    for i, a in enumerate(flat):
        for j, b in enumerate(flat):
            cosine, distance = (charts[name].data[0]["z"][i][j] for name in ("cosine", "distance"))
            if i == j:
                assert (cosine, distance) == (None, None)
            else:
                assert cosine == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-6)
                assert distance == pytest.approx(np.linalg.norm(a - b), rel=1e-6)


def test_the_map_shows_each_fold(charts: dict[str, Chart], models: list[dict[str, np.ndarray]]) -> None:
    points = charts["map"].data[0]
    assert points["text"] == [f"v3_fold{i}" for i in range(5)]
    flat = np.stack([np.concatenate([tensor.ravel() for tensor in model.values()]) for model in models])
    centred = flat - flat.mean(0)
    # Principal components of the models themselves: what classical scaling finds without them, but for signs.
    _, values, vectors = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ vectors[:2].T
    shown = np.stack([points["x"], points["y"]], axis=1)
    np.testing.assert_allclose(np.abs(shown), np.abs(expected), rtol=1e-4)
    assert f"{(values[:2] ** 2).sum() / (values**2).sum():.0%}" in charts["map"].note


def test_layers_drift(charts: dict[str, Chart], models: list[dict[str, np.ndarray]]) -> None:
    drift, change = charts["layer-drift"], charts["layer-change"]
    layer = drift.data[0]["x"].index("layers.3")
    for number, (a, b) in enumerate(pairwise(models)):
        steps = [b[name] - a[name] for name in a if name.startswith("layers.3.")]
        expected = np.sqrt(sum((step**2).sum() for step in steps))
        assert drift.data[number]["y"][layer] == pytest.approx(expected, rel=1e-6)
        size = np.sqrt(sum((models[0][name] ** 2).sum() for name in a if name.startswith("layers.3.")))
        moved = np.sqrt(sum(((b[n] - models[0][n]) ** 2).sum() for n in a if n.startswith("layers.3.")))
        assert change.data[number]["y"][layer] == pytest.approx(moved / size, rel=1e-6)


def test_two_models_have_no_way(found: Path) -> None:
    report: Report = json.loads(as_json(compare_report(compare(folds()[:2]))))
    names = [chart.name for chart in of_comparison(report, "two").charts]
    assert names == ["map", "cosine", "distance", "opposed", "layer-change", "layer-cosine"]
    alone: Report = json.loads(as_json(compare_report(compare(folds()[:1]))))
    assert of_comparison(alone, "one").charts == ()


def test_with_a_base_the_changes_are_shown() -> None:
    report: Report = json.loads(as_json(compare_report(compare(folds()[1:3], folds()[0]))))
    drawn = {chart.name: chart for chart in of_comparison(report, "changes").charts}
    assert [trace["text"] for trace in drawn["map"].data] == [["v3_fold1", "v3_fold2"], ["v3_fold0"]]
    assert drawn["cosine"].title == "Cosine of the changes from v3_fold0"
    assert [trace["name"] for trace in drawn["layer-change"].data] == ["v3_fold1", "v3_fold2"]


def test_many_models_are_a_heat_map(found: Path) -> None:
    report: Report = json.loads(as_json(compare_report(compare([*folds(), *folds()]))))
    drawn = {chart.name: chart for chart in of_comparison(report, "many").charts}
    assert [trace["type"] for trace in drawn["layer-change"].data] == ["heatmap"]
    assert np.shape(drawn["layer-change"].data[0]["z"]) == (9, len(report["layers"]))


def test_opposite_directions_have_colours_of_their_own(found: Path) -> None:
    report: Report = json.loads(found.read_text())
    turned = copy.deepcopy(report)
    turned["cosine"][0][1] = turned["cosine"][1][0] = -0.5
    by_sign = [{c.name: c for c in of_comparison(one, "x").charts}["cosine"].data[0] for one in (report, turned)]
    assert [("zmid" in field, field["colorscale"]) for field in by_sign] == [(False, "Viridis"), (True, "RdBu")]


def test_nan_is_nothing_to_draw(found: Path, tmp_path: Path) -> None:
    report: Report = json.loads(found.read_text())
    report["cosine"][0][1] = "nan"
    report["models"][2] = "nan"  # a model may be called so
    (tmp_path / "odd.json").write_text(json.dumps(report))
    drawn = {chart.name: chart for chart in section_of(tmp_path / "odd.json").charts}
    assert drawn["cosine"].data[0]["z"][0][1] is None
    assert drawn["cosine"].data[0]["x"][2] == "nan"


def test_a_damaged_comparison_is_told(found: Path, tmp_path: Path) -> None:
    report: Report = json.loads(found.read_text())
    for key, value in (("map", 3), ("layers", [{}]), ("spectrum", [{"name": "a"}])):
        (tmp_path / "odd.json").write_text(json.dumps({**report, key: value}))
        with pytest.raises(TableError, match=r"odd.json: the comparison is damaged"):
            section_of(tmp_path / "odd.json")
