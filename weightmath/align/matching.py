"""Weight matching, Algorithm 1 of Git Re-Basin: the permutations of B that bring it nearest to A.

Reference: Ainsworth, Hayase and Srinivasa, Git Re-Basin, arXiv:2209.04836, section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from weightmath.align.spec import Orders, Permutation, Spec, permuted, units
from weightmath.engine.meter import Told, silent
from weightmath.files.buffers import is_buffer
from weightmath.installed import check_installed

_LEAST_GAIN = 1e-9  # of the norms, so that rounding does not go round in circles


@dataclass(frozen=True)
class Likeness:
    """How near the tensors that move, but for buffers, are to each other: sums of squares and of products."""

    aa: float
    bb: float
    ab: float

    @property
    def cosine(self) -> float:
        """The cosine; 0 with a zero vector."""
        return self.ab / (self.aa * self.bb) ** 0.5 if self.aa > 0 and self.bb > 0 else 0.0

    @property
    def distance(self) -> float:
        """norm(A - B)."""
        return float(max(self.aa + self.bb - 2 * self.ab, 0.0) ** 0.5)


@dataclass(frozen=True)
class Matching:
    """What matching found.

    orders     for each permutation, which of B's units comes first, second, ..
    before     likeness of A and B, `after` of A and the permuted B
    sweeps     how often all permutations were looked at
    converged  whether the last sweep changed nothing
    """

    orders: Orders
    before: Likeness
    after: Likeness
    sweeps: int
    converged: bool

    @property
    def moved(self) -> dict[str, int]:
        """How many units of each permutation have another place than in B."""
        return {name: int(np.count_nonzero(order != np.arange(len(order)))) for name, order in self.orders.items()}


def weight_matching(
    spec: Spec,
    a: Mapping[str, np.ndarray],
    b: Mapping[str, np.ndarray],
    *,
    seed: int = 0,
    sweeps: int = 100,
    progress: Told = silent,
) -> Matching:
    """The permutations that bring B nearest to A: coordinate descent on the sum of products of the tensors that move.

    For one permutation P, the others held, the sum is <P, C> with C = sum over its axes of A_i B_i^T, where A_i and B_i
    have a row for each unit; the best P is a linear assignment problem (scipy). Permutations are taken in random order,
    again and again, until none gains: a local optimum, as the problem is NP-hard. Biases and norms count, BatchNorm's
    running statistics and other buffers move but do not count: they measure activations, not weights.

    Parameters
        spec      which axis of which tensor moves with which permutation; see `spec_for`
        a, b      tensors by name, all that the spec names; each is taken when it is needed, in float64
        seed      of the random order
        sweeps    the most that are made
        progress  told in each sweep how many permutations are through, and how many there are
    Memory: two tensors, and n x n numbers for n units, in float64. Fails with WeightmathError without scipy.
    Differs: the authors' code goes on while anything above 1e-12 is gained, which in float32 may never end; here it is
    a billionth of the norms.
    """
    assign = assignment()
    rng = np.random.default_rng(seed)
    orders = spec.identity()
    before = likeness(spec, a, b, orders)
    least = _LEAST_GAIN * (before.aa * before.bb) ** 0.5
    sweep, gained = 0, True
    while gained and sweep < sweeps:
        sweep, gained = sweep + 1, False
        for done, number in enumerate(rng.permutation(len(spec.permutations))):
            progress(done, len(spec.permutations))
            permutation = spec.permutations[number]
            products = _products(spec, permutation, a, b, orders)
            own = orders[permutation.name]
            best = assign(products)
            # products[i, j]: unit i of A and unit j of B, numbered as in B.
            gain = products[np.arange(len(own)), best].sum() - products[np.arange(len(own)), own].sum()
            if gain > least:
                orders[permutation.name], gained = best, True
    return Matching(orders, before, likeness(spec, a, b, orders), sweep, not gained)


def assignment() -> Callable[[np.ndarray], np.ndarray]:
    """What solves the linear assignment problem. WeightmathError without scipy."""
    check_installed("matching", "scipy")
    from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

    return lambda products: np.asarray(linear_sum_assignment(products, maximize=True)[1])


def _products(
    spec: Spec, permutation: Permutation, a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray], orders: Orders
) -> np.ndarray:
    """The sum of products of each unit of A with each of B, the other axes of B permuted."""
    total = np.zeros((permutation.size, permutation.size))
    for move in permutation.moves:
        if not is_buffer(move.tensor):
            other = permuted(_double(b, move.tensor), move.tensor, spec, orders, without=move)
            total += units(_double(a, move.tensor), move, permutation.size) @ units(other, move, permutation.size).T
    return total


def likeness(spec: Spec, a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray], orders: Orders) -> Likeness:
    """How near the tensors that move are to each other, B's permuted by these orders."""
    aa = bb = ab = 0.0
    for name in spec.of_tensor:
        if not is_buffer(name):
            one, other = _double(a, name).reshape(-1), permuted(_double(b, name), name, spec, orders).reshape(-1)
            aa, bb, ab = aa + float(one @ one), bb + float(other @ other), ab + float(one @ other)
    return Likeness(aa, bb, ab)


def _double(tensors: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    return np.asarray(tensors[name], dtype=np.float64)
