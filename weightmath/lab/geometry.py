"""What the distances of n points tell: inner products, cosines, a trajectory's drift, a map of two dimensions.

All of it is float64 arithmetic on matrices of n by n, however long the vectors are. Functions of one matrix take stacks
of them too, (..., n, n), such as one per tensor. Of vectors with NaN or infinities no distance
to another one is finite, and nothing that is made of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def gram(squared: np.ndarray, about: int) -> np.ndarray:
    """From squared distances (..., n, n) inner products: those of all points as seen from one of them, (..., n, n).

    <a - o, b - o> = (|a - o|^2 + |b - o|^2 - |a - b|^2) / 2, to about 1e-16 of the two squares.
    """
    from_there = squared[..., about, :]
    with np.errstate(invalid="ignore"):
        return np.asarray((from_there[..., :, None] + from_there[..., None, :] - squared) / 2)


def cosines(gram: np.ndarray) -> np.ndarray:
    """The cosines (..., n, n) of a Gram matrix, G[i, j] / sqrt(G[i, i] G[j, j]); 0 with a zero vector."""
    lengths = np.sqrt(np.diagonal(gram, axis1=-2, axis2=-1))
    scale = lengths[..., :, None] * lengths[..., None, :]
    with np.errstate(invalid="ignore"):
        found = np.divide(gram, scale, out=np.zeros_like(gram), where=scale != 0)
    return np.asarray(np.clip(found, -1.0, 1.0))


@dataclass(frozen=True)
class Map:
    """Points in a plane whose distances are as near to the true ones as a plane allows.

    points   (n, 2)
    share    of the squared distances from the centre that the plane holds, 0 to 1
    """

    points: np.ndarray
    share: float


def planar_map(distance: np.ndarray) -> Map:
    """Classical scaling of distances (n, n): the two leading eigenvectors of the centred Gram matrix -J D^2 J / 2.

    The centre of the points is at the origin. Signs are chosen so that the coordinate of largest magnitude is positive
    along each axis.
    Reference: Torgerson, Multidimensional scaling: I. Theory and method, Psychometrika 17, 1952.
    """
    n = len(distance)
    if not np.isfinite(distance).all():
        return Map(np.full((n, 2), np.nan), np.nan)
    centre = np.eye(n) - 1 / n
    values, vectors = np.linalg.eigh(-0.5 * centre @ (distance * distance) @ centre)
    values = np.maximum(values, 0.0)
    points = np.zeros((n, 2))
    for axis in range(min(2, n)):
        column = vectors[:, -1 - axis] * np.sqrt(values[-1 - axis])
        points[:, axis] = column * (np.sign(column[np.argmax(np.abs(column))]) or 1.0)
    total = float(values.sum())
    return Map(points, float(values[-2:].sum()) / total if total > 0 else 1.0)


@dataclass(frozen=True)
class Drift:
    """A trajectory of n points.

    steps        (n - 1,) the distance from each point to the next
    travelled    (n,) the length of the way up to each point
    from_start   (n,) the distance of each point from the first
    turns        (n - 2,) the cosine between each step and the next: 1 straight on, 0 at right angles, -1 back
    """

    steps: np.ndarray
    travelled: np.ndarray
    from_start: np.ndarray
    turns: np.ndarray


def drift(distance: np.ndarray) -> Drift:
    """The drift of points in their order, from their distances (n, n)."""
    steps = np.diagonal(distance, offset=1).copy()
    across = np.diagonal(distance, offset=2)
    product = steps[:-1] * steps[1:]
    with np.errstate(invalid="ignore"):
        # |a + b|^2 = |a|^2 + |b|^2 + 2 a b
        inner = (across * across - steps[:-1] ** 2 - steps[1:] ** 2) / 2
        turns = np.divide(inner, product, out=np.zeros_like(inner), where=product != 0)
    travelled = np.concatenate([[0.0], np.cumsum(steps)])
    return Drift(steps, travelled, distance[0].copy(), np.clip(turns, -1.0, 1.0))
