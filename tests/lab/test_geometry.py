"""Cosines, distances, maps and drift from inner products, against the points themselves."""

from __future__ import annotations

import numpy as np
import pytest

from weightmath.lab.geometry import cosines, distances, drift, moved, planar_map


def between(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


@pytest.fixture
def points() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((6, 50))


def test_of_a_gram_matrix(points: np.ndarray) -> None:
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    np.testing.assert_allclose(cosines(points @ points.T), unit @ unit.T, atol=1e-14)
    np.testing.assert_allclose(distances(points @ points.T), between(points), atol=1e-6)


def test_stacks_are_taken_one_by_one(points: np.ndarray) -> None:
    stack = np.stack([points @ points.T, 4 * points @ points.T])
    np.testing.assert_array_equal(cosines(stack)[1], cosines(stack[1]))
    np.testing.assert_array_equal(distances(stack)[0], distances(stack[0]))


def test_a_zero_vector_has_cosine_zero() -> None:
    assert cosines(np.diag([4.0, 0.0])).tolist() == [[1.0, 0.0], [0.0, 0.0]]


def test_products_of_changes_tell_those_of_the_points(points: np.ndarray) -> None:
    changes = np.vstack([points[:1], points[1:] - points[0]])
    found = moved(np.stack([changes @ changes.T, np.eye(6)]))
    np.testing.assert_allclose(found[0], points @ points.T, atol=1e-12)
    np.testing.assert_array_equal(found[1], moved(np.eye(6)))


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
