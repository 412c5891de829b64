"""Which points a landscape has, and what its table's head says of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.lab.landscapes import point, save_models, state
from weightmath.errors import LayoutError, RecipeError
from weightmath.lab.landscape import views

Paths = dict[str, Path]


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    return save_models(tmp_path)


def test_a_line_has_its_ends_whatever_its_grid(paths: Paths) -> None:
    view = views.line(paths["a"], paths["b"], points=3, margin=0.25)
    assert [params["t"] for params in view.points] == [-0.25, 0, 0.5, 1, 1.25]
    assert [params["t"] for params in views.line(paths["a"], paths["b"]).points] == [i / 10 for i in range(11)]
    assert view.about["models"] == [
        {"name": "a", "path": "a.ckpt", "place": [0.0]},
        {"name": "b", "path": "b.ckpt", "place": [1.0]},
    ]


def test_a_plane_has_its_models_first_and_a_grid_around_them(paths: Paths) -> None:
    view = views.plane(*paths.values(), points=4)
    places = [tuple(model["place"]) for model in view.about["models"]]
    assert [tuple(params.values()) for params in view.points[:3]] == places
    grid = [tuple(params.values()) for params in view.points[3:]]
    xs, ys = (sorted(set(column)) for column in zip(*grid, strict=True))
    assert (len(grid), len(xs), len(ys)) == (16, 4, 4)
    assert grid[:2] == [(xs[0], ys[0]), (xs[1], ys[0])]
    for column, own in ((xs, 0), (ys, 1)):
        low, high = min(place[own] for place in places), max(place[own] for place in places)
        assert column[0] == pytest.approx(low - 0.2 * (high - low))
        assert column[-1] == pytest.approx(high + 0.2 * (high - low))


def test_around_a_model_the_model_is_in_the_middle(paths: Paths) -> None:
    view = views.around(paths["a"], directions=2, seed=3, points=3, reach=0.5)
    assert view.points[4] == {"x": 0, "y": 0}
    assert view.points[0] == {"x": -0.5, "y": -0.5}
    assert [params["x"] for params in views.around(paths["a"], directions=1, points=5).points] == [-1, -0.5, 0, 0.5, 1]


def test_along_a_model_leads_to_it_and_along_a_delta_file_is_its_delta(tmp_path: Path, paths: Paths) -> None:
    from weightmath.checkpoint import open_checkpoint
    from weightmath.delta.api import Options, make

    a, b = (open_checkpoint(paths[name]).section(None) for name in "ab")
    make(a, b, tmp_path / "b.delta", Options("dense"), threads=1)
    for other in (paths["b"], tmp_path / "b.delta"):
        view = views.along(paths["a"], [other, paths["c"]])
        found = point(view.formula, dict(view.paths), x=1.0, y=0.0)
        torch.testing.assert_close(found["fc.weight"], state(1)["fc.weight"])
        found = point(view.formula, dict(view.paths), x=0.0, y=-1.0)
        torch.testing.assert_close(found["fc.weight"], 2 * state(0)["fc.weight"] - state(2)["fc.weight"])
    with pytest.raises(RecipeError, match="3 directions are given"):
        views.along(paths["a"], list(paths.values()))


def test_a_trajectory_marks_its_checkpoints(tmp_path: Path, paths: Paths) -> None:
    view = views.trajectory(paths["a"], [paths["b"], paths["c"]], points=3)
    assert [model["name"] for model in view.about["models"]] == ["r0", "r1", "a"]
    assert view.about["models"][-1]["place"] == [0, 0]
    assert sum(view.about["spread"]) == pytest.approx(1)
    assert len(view.points) == 9


def test_noise_has_each_scale_with_each_seed_and_the_model_itself_once(paths: Paths) -> None:
    view = views.noise(paths["a"], [0.3, 0.1, 0.0], seeds=2)
    found = [tuple(params.values()) for params in view.points]
    assert found == [(0, 0), (0.1, 0), (0.1, 1), (0.3, 0), (0.3, 1)]
    for scales in ([0.0], [-0.1, 1.0], []):
        with pytest.raises(RecipeError, match="numbers above 0"):
            views.noise(paths["a"], scales)


def test_stale_statistics_are_said(tmp_path: Path, paths: Paths) -> None:
    assert "(1 of the tensors)" in views.line(paths["a"], paths["b"]).warnings[0]
    assert views.line(tmp_path / "plain_a.ckpt", tmp_path / "plain_b.ckpt").warnings == ()


def test_models_of_two_architectures_have_no_line(tmp_path: Path, paths: Paths) -> None:
    torch.save({"x": torch.zeros(2)}, tmp_path / "x.ckpt")
    with pytest.raises(LayoutError, match="does not have the layout of `a`"):
        views.line(paths["a"], tmp_path / "x.ckpt")
