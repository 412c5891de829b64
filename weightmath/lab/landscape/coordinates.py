"""Where models lie, from the inner products of what leads to them: float64 arithmetic on a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weightmath.errors import NumericError, RecipeError
from weightmath.kernels.solvers import gram_schmidt, principal

Place = tuple[float, ...]


@dataclass(frozen=True)
class Axes:
    """Orthonormal directions from an origin, and where the models lie.

    shares   for each direction the coefficient of each step from the origin to a model
    places   for each step the coordinates of the model that it leads to, in units of length in weight space
    spread   for each principal direction its share of the variance; () for a plane
    """

    shares: tuple[Place, ...]
    places: tuple[Place, ...]
    spread: Place = ()


def plane_of(gram: np.ndarray) -> Axes:
    """The plane that two steps span: the first along its x axis, the second above it.

    RecipeError where there is none, NumericError where numbers are not finite.
    """
    _check_finite(gram)
    lengths = np.sqrt(np.diagonal(gram))
    if not lengths.all():
        raise RecipeError("two of the models are equal, and a plane goes through three")
    shares = np.concatenate([gram_schmidt(gram[None], direction=number) for number in range(2)])
    if not shares[1].any():
        hint = "`landscape line` shows what lies on it"
        raise RecipeError("the three models lie on one line, and no plane is theirs alone", hint=hint)
    first, second = _tuples(gram @ shares.T)
    return Axes(_tuples(shares), ((first[0], 0.0), second))


def path_of(gram: np.ndarray, directions: int) -> Axes:
    """The principal directions of a path that ends at the origin, from the steps that lead to its other points.

    RecipeError where the path does not spread in so many directions, NumericError where numbers are not finite.
    """
    _check_finite(gram)
    whole = np.pad(gram, ((0, 1), (0, 1)))
    centre = np.eye(len(whole)) - 1 / len(whole)
    centred = centre @ whole @ centre
    if directions >= len(whole):
        fact = f"a path of {len(whole)} checkpoints has at most {len(whole) - 1} principal directions"
        raise RecipeError(f"{fact}, not {directions}", hint="more checkpoints, or --directions 1")
    shares = np.concatenate([principal(centred[None], direction=number) for number in range(directions)])[:, :-1]
    if not shares[0].any():
        raise RecipeError("the checkpoints are all equal, and lead nowhere")
    if not shares[-1].any():
        raise RecipeError("the checkpoints lie on one line", hint="--directions 1")
    spread = np.linalg.eigvalsh(centred)[::-1][:directions] / np.trace(centred)
    return Axes(_tuples(shares), _tuples(gram @ shares.T), tuple(float(share) for share in spread))


def _check_finite(gram: np.ndarray) -> None:
    if not np.isfinite(gram).all():
        raise NumericError("the models hold NaN or infinite values, and have no distances")


def _tuples(rows: np.ndarray) -> tuple[Place, ...]:
    return tuple(tuple(float(number) for number in row) for row in rows)


def axis(places: Sequence[float], points: int, margin: float) -> list[float]:
    """So many numbers at equal distances, from below the least to above the largest place by a share of their range."""
    low, high = min(places), max(places)
    beyond = margin * (high - low)
    # Twelve digits: 0.3 rather than 0.30000000000000004.
    return [float(f"{number:.12g}") for number in np.linspace(low - beyond, high + beyond, points)]
