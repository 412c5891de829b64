"""Where landscapes place models, and what the recipes of their points compute, against numpy on flat vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.lab.landscapes import point, save_models, state
from weightmath import functions as f
from weightmath.errors import NumericError, RecipeError
from weightmath.lab.landscape import recipes
from weightmath.lab.landscape.coordinates import Axes, axis, path_of, plane_of
from weightmath.lab.landscape.models import measure, open_models


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    return save_models(tmp_path)


def flat(tensors: dict[str, torch.Tensor]) -> np.ndarray:
    """All that is trained, as one vector."""
    return torch.cat([tensors[name].flatten() for name in sorted(tensors) if "running" not in name]).double().numpy()


def gram_of(steps: list[np.ndarray]) -> np.ndarray:
    return np.stack(steps) @ np.stack(steps).T


def close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], rtol: float = 1e-6) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=rtol, atol=1e-6, msg=name)


def plane(paths: dict[str, Path]) -> tuple[Axes, recipes.Formula]:
    models = open_models(paths)
    a, b, c = models.vectors.values()
    (gram,) = measure(models, [f.gram([b - a, c - a])])
    axes = plane_of(gram)
    return axes, recipes.plane(axes, models.buffers)


def test_a_plane_puts_each_model_on_its_own_coordinates(paths):
    axes, formula = plane(paths)
    A, B, C = (flat(state(seed)) for seed in range(3))  # noqa: N806 - vectors as they are written
    u = (B - A) / np.linalg.norm(B - A)
    np.testing.assert_allclose(axes.places[0], (np.linalg.norm(B - A), 0), rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(
        axes.places[1], ((C - A) @ u, np.linalg.norm(C - A - (C - A) @ u * u)), rtol=1e-6, atol=1e-6
    )
    for seed, (x, y) in enumerate([(0.0, 0.0), *axes.places]):
        close(point(formula, paths, x=x, y=y), state(seed))


def test_steps_of_one_length_are_of_one_length_in_weight_space(paths):
    _, formula = plane(paths)
    origin = flat(state(0))
    for x, y in ((3.0, 4.0), (0.0, -5.0), (5.0, 0.0)):
        moved = flat(point(formula, paths, x=x, y=y))
        assert np.linalg.norm(moved - origin) == pytest.approx(5, rel=1e-6)


def test_running_statistics_are_averages_of_the_models_within_and_without(paths):
    axes, formula = plane(paths)
    variances = [state(seed)["bn.running_var"] for seed in range(3)]
    third = tuple(sum(place[i] for place in axes.places) / 3 for i in range(2))
    torch.testing.assert_close(point(formula, paths, x=third[0], y=third[1])["bn.running_var"], sum(variances) / 3)
    far = point(formula, paths, x=-40.0, y=-10.0)
    assert (far["fc.weight"] - state(0)["fc.weight"]).norm() > 10
    assert (far["bn.running_var"] >= torch.stack(variances).amin(0) - 1e-6).all()
    line = recipes.line(("bn.running_var",))
    two = {name: paths[name] for name in "ab"}
    close(point(line, two, t=1), state(1), rtol=0)
    beyond = point(line, two, t=3)
    torch.testing.assert_close(beyond["bn.running_var"], variances[1])
    torch.testing.assert_close(beyond["fc.weight"], 3 * state(1)["fc.weight"] - 2 * state(0)["fc.weight"])


def test_models_without_buffers_need_no_word_of_them(tmp_path, paths):
    plain = {name: tmp_path / f"plain_{name}.ckpt" for name in "abc"}
    axes, formula = plane(plain)
    assert "only" not in recipes.text_of(formula, plain, [], "x.ckpt")
    close(point(formula, plain, x=axes.places[1][0], y=axes.places[1][1]), state(2, norms=False))


def test_no_plane_goes_through_equal_models_or_a_line():
    with pytest.raises(RecipeError, match="two of the models are equal"):
        plane_of(gram_of([np.ones(3), np.zeros(3)]))
    with pytest.raises(RecipeError, match="lie on one line"):
        plane_of(gram_of([np.ones(3), -2 * np.ones(3)]))


def test_models_that_are_not_finite_have_no_distances():
    for axes in (plane_of, lambda gram: path_of(gram, 1)):
        with pytest.raises(NumericError, match="NaN or infinite"):
            axes(np.array([[1.0, np.nan], [np.nan, 1.0]]))


def test_a_path_lies_on_its_coordinates(tmp_path, paths):
    runs = [state(seed) for seed in (1, 2, 3)]
    files = {"a": paths["a"], **{f"r{i}": tmp_path / f"{name}.ckpt" for i, name in enumerate("bcd")}}
    models = open_models(files)
    a, *others = models.vectors.values()
    (gram,) = measure(models, [f.gram([other - a for other in others])])
    axes = path_of(gram, 2)
    whole = np.stack([flat(tensors) for tensors in (*runs, state(0))])
    _, lengths, directions = np.linalg.svd(whole - whole.mean(axis=0))
    for number in range(2):
        ahead = np.sign((whole[-1] - whole[0]) @ directions[number])
        expected = (whole[:-1] - whole[-1]) @ directions[number] * ahead
        np.testing.assert_allclose([place[number] for place in axes.places], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(axes.spread, lengths[:2] ** 2 / (lengths**2).sum(), rtol=1e-5)
    moved = point(recipes.trajectory(axes, list(files)[1:]), files, x=2.0, y=0.0)
    ahead = np.sign((whole[-1] - whole[0]) @ directions[0])
    np.testing.assert_allclose(flat(moved), whole[-1] + 2 * ahead * directions[0], atol=1e-5)
    torch.testing.assert_close(moved["bn.running_var"], state(0)["bn.running_var"], rtol=0, atol=0)


def test_a_path_spreads_in_fewer_directions_than_it_has_points():
    with pytest.raises(RecipeError, match="at most 1 principal directions, not 2"):
        path_of(gram_of([np.ones(3)]), 2)
    with pytest.raises(RecipeError, match="on one line"):
        path_of(gram_of([np.ones(3), 2 * np.ones(3)]), 2)
    with pytest.raises(RecipeError, match="all equal"):
        path_of(np.zeros((2, 2)), 1)


def test_random_directions_move_filters_by_their_own_length(paths):
    one = {"a": paths["a"]}
    moved = point(recipes.random(2, seed=3), one, x=0.5, y=0.0)
    for name, tensor in state(0).items():
        step = moved[name] - tensor
        if tensor.ndim < 2:
            assert not step.any(), name
        else:
            torch.testing.assert_close(step.flatten(1).norm(dim=1), 0.5 * tensor.flatten(1).norm(dim=1))
    other = point(recipes.random(2, seed=3), one, x=0.0, y=0.5)
    assert not torch.equal(moved["fc.weight"], other["fc.weight"])


def test_noise_is_measured_in_standard_deviations(paths):
    one = {"a": paths["a"]}
    moved = point(recipes.noise(), one, scale=0.1, seed=4)
    step = (moved["fc.weight"] - state(0)["fc.weight"]) / state(0)["fc.weight"].std(correction=0)
    assert 0.05 < step.std() < 0.15
    torch.testing.assert_close(moved["bn.running_var"], state(0)["bn.running_var"], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("places", "points", "margin", "expected"),
    [
        ([0, 1], 11, 0.0, [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]),
        ([0, 10, -2], 3, 0.5, [-8, 4, 16]),
    ],
)
def test_axes(places, points, margin, expected):
    assert axis(places, points, margin) == expected
