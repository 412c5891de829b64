"""Inner products, cosines, maps and drift from distances, against the points themselves."""

from __future__ import annotations

import numpy as np
import pytest

from weightmath.lab.geometry import cosines, drift, gram, planar_map


def between(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


@pytest.fixture
def points() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((6, 50))


def test_inner_products_as_seen_from_a_point(points: np.ndarray) -> None:
    squared = between(points) ** 2
    for about in (0, 4):
        seen = points - points[about]
        np.testing.assert_allclose(gram(squared, about), seen @ seen.T, atol=1e-12)


def test_the_least_of_points_of_very_different_size() -> None:
    """What rounding takes from the angle between two vectors grows with the ratio of their lengths."""
    points = np.array([[0.0, 0.0], [1e6, 0.0], [0.6, 0.8]])
    assert cosines(gram(between(points) ** 2, 0))[1, 2] == pytest.approx(0.6, abs=1e-9)


def test_cosines(points: np.ndarray) -> None:
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    np.testing.assert_allclose(cosines(points @ points.T), unit @ unit.T, atol=1e-14)


def test_stacks_are_taken_one_by_one(points: np.ndarray) -> None:
    squared = between(points) ** 2
    stack = gram(np.stack([squared, 4 * squared]), 2)
    np.testing.assert_array_equal(stack[1], gram(4 * squared, 2))
    np.testing.assert_array_equal(cosines(stack)[1], cosines(stack[1]))


def test_a_zero_vector_has_cosine_zero() -> None:
    assert cosines(np.diag([4.0, 0.0])).tolist() == [[1.0, 0.0], [0.0, 0.0]]


def test_a_map_of_points_in_a_plane_keeps_every_distance(points: np.ndarray) -> None:
    flat = points[:, :2] @ np.random.default_rng(1).standard_normal((2, 50)) + 3
    found = planar_map(between(flat))
    np.testing.assert_allclose(between(found.points), between(flat), atol=1e-6)
    np.testing.assert_allclose(found.points.mean(axis=0), 0, atol=1e-7)
    assert found.share == pytest.approx(1)


def test_a_map_is_the_leading_principal_components(points: np.ndarray) -> None:
    centred = points - points.mean(axis=0)
    u, s, _ = np.linalg.svd(centred)
    found = planar_map(between(points))
    np.testing.assert_allclose(np.abs(found.points), np.abs(u[:, :2] * s[:2]), atol=1e-6)
    assert found.share == pytest.approx(np.sum(s[:2] ** 2) / np.sum(s**2))
    assert (found.points.max(axis=0) == np.abs(found.points).max(axis=0)).all()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_map_of_few_points(points: np.ndarray, count: int) -> None:
    found = planar_map(between(points[:count]))
    np.testing.assert_allclose(between(found.points), between(points[:count]), atol=1e-6)


def test_drift(points: np.ndarray) -> None:
    found = drift(between(points))
    steps = np.diff(points, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    np.testing.assert_allclose(found.steps, lengths)
    np.testing.assert_allclose(found.travelled, [0, *np.cumsum(lengths)])
    np.testing.assert_allclose(found.from_start, np.linalg.norm(points - points[0], axis=1))
    turns = np.sum(steps[1:] * steps[:-1], axis=1) / (lengths[1:] * lengths[:-1])
    np.testing.assert_allclose(found.turns, turns, atol=1e-12)


def test_drift_of_one_point_and_of_one_that_stands_still() -> None:
    one = drift(np.zeros((1, 1)))
    assert [len(column) for column in vars(one).values()] == [0, 1, 1, 0]
    assert drift(np.zeros((3, 3))).turns.tolist() == [0.0]
