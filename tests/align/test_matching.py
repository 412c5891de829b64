"""Weight matching: what it finds against all permutations there are, the authors' algorithm, and a known answer."""

from __future__ import annotations

import sys
from itertools import permutations

import numpy as np
import pytest
import scipy.optimize

from tests.align.nets import FAMILIES, made
from tests.align.test_families import layout_of, moved, shuffled
from weightmath.align import Spec, permuted, spec_for, weight_matching
from weightmath.align.matching import Likeness
from weightmath.align.spec import Move, Permutation
from weightmath.errors import WeightmathError

Arrays = dict[str, np.ndarray]
WIDTHS = (8, 30, 20, 3)
MLP = Spec(
    tuple(
        Permutation(f"P{i}", WIDTHS[i + 1], (Move(f"w{i}", 0), Move(f"b{i}", 0), Move(f"w{i + 1}", 1)))
        for i in range(2)
    )
)


def mlp(seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    weights = {f"w{i}": rng.standard_normal((WIDTHS[i + 1], WIDTHS[i])) for i in range(3)}
    return {**weights, **{f"b{i}": rng.standard_normal(WIDTHS[i + 1]) for i in range(3)}}


def flat(tensors: Arrays) -> np.ndarray:
    return np.concatenate([tensors[name].reshape(-1) for name in MLP.of_tensor])


def aligned(b: Arrays, orders: dict[str, np.ndarray]) -> Arrays:
    return {name: permuted(tensor, name, MLP, orders) for name, tensor in b.items()}


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_shuffled_model_is_put_back(family: object) -> None:
    state = made(family, 0).state_dict()  # type: ignore[arg-type]
    spec, _ = spec_for("auto", layout_of(state), family.heads)  # type: ignore[attr-defined]
    tensors = {name: tensor.numpy() for name, tensor in state.items()}
    for seed in range(3):
        other = {name: tensor.numpy() for name, tensor in moved(state, spec, shuffled(spec, seed)).items()}
        found = weight_matching(spec, tensors, other, seed=seed)
        for name in spec.of_tensor:
            np.testing.assert_array_equal(permuted(other[name], name, spec, found.orders), tensors[name])
        assert found.converged
        assert found.after.cosine == pytest.approx(1)
        assert found.after.distance == pytest.approx(0, abs=1e-6)


def test_one_hidden_layer_has_the_best_of_all_orders() -> None:
    spec = Spec((Permutation("P", 6, (Move("w", 0), Move("v", 1))),))
    rng = np.random.default_rng(1)
    a, b = ({"w": rng.standard_normal((6, 4)), "v": rng.standard_normal((2, 6))} for _ in range(2))
    found = weight_matching(spec, a, b)
    every = (np.array(order) for order in permutations(range(6)))
    best = max(np.sum(a["w"] * b["w"][order]) + np.sum(a["v"] * b["v"][:, order]) for order in every)
    assert found.after.ab == pytest.approx(best)


@pytest.mark.parametrize("seed", range(3))
def test_as_the_authors_do_it(seed: int) -> None:
    """Against a transcript of git-re-basin/src/weight_matching.py (arXiv:2209.04836), given the same random order."""
    a, b = mlp(seed), mlp(seed + 100)
    found = weight_matching(MLP, a, b, seed=seed)
    axes_of = {name: {move.axis: one.name for one, move in moves} for name, moves in MLP.of_tensor.items()}
    perm = {one.name: np.arange(one.size) for one in MLP.permutations}

    def get_permuted_param(k: str, except_axis: int | None) -> np.ndarray:
        w = b[k]
        for axis, p in axes_of[k].items():
            if axis != except_axis:
                w = np.take(w, perm[p], axis=axis)
        return w

    rng = np.random.default_rng(seed)
    for _ in range(100):
        progress = False
        for p_ix in rng.permutation(2):
            p = MLP.permutations[p_ix]
            n = p.size
            matrix = np.zeros((n, n))
            for move in p.moves:
                w_a = np.moveaxis(a[move.tensor], move.axis, 0).reshape((n, -1))
                w_b = np.moveaxis(get_permuted_param(move.tensor, move.axis), move.axis, 0).reshape((n, -1))
                matrix += w_a @ w_b.T
            _, ci = scipy.optimize.linear_sum_assignment(matrix, maximize=True)
            old, new = np.vdot(matrix, np.eye(n)[perm[p.name]]), np.vdot(matrix, np.eye(n)[ci])
            progress = progress or new > old + 1e-9
            perm[p.name] = ci
        if not progress:
            break
    for name, order in perm.items():
        np.testing.assert_array_equal(found.orders[name], order)


def test_the_likeness_that_is_told() -> None:
    a, b = mlp(0), mlp(1)
    found = weight_matching(MLP, a, b)
    after = aligned(b, dict(found.orders))
    for told, tensors in ((found.before, b), (found.after, after)):
        one, other = flat(a), flat(tensors)
        assert told.ab == pytest.approx(one @ other)
        assert told.cosine == pytest.approx(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
        assert told.distance == pytest.approx(np.linalg.norm(one - other))
    assert found.after.ab > found.before.ab
    assert found.moved == {
        name: np.count_nonzero(order != np.arange(len(order))) for name, order in found.orders.items()
    }


def test_likeness() -> None:
    assert (Likeness(4, 9, 3).cosine, Likeness(4, 9, 3).distance) == (0.5, 7**0.5)
    assert Likeness(0, 0.5, 0).cosine == Likeness(0.5, 0, 0).cosine == 0, "with a zero vector"
    assert Likeness(0.25, 0.25, 0.125).cosine == 0.5
    assert Likeness(1, 1, 1 + 1e-9).distance == 0


def test_it_is_a_local_optimum() -> None:
    """No exchange of two units of one permutation is nearer to A."""
    a, b = mlp(2), mlp(3)
    found = weight_matching(MLP, a, b)
    best = flat(a) @ flat(aligned(b, dict(found.orders)))
    for name, order in found.orders.items():
        for i in range(len(order)):
            other = order.copy()
            other[[i, i - 1]] = other[[i - 1, i]]
            assert flat(a) @ flat(aligned(b, {**found.orders, name: other})) <= best + 1e-9


def test_running_statistics_move_but_do_not_count() -> None:
    spec = Spec((Permutation("P", 4, (Move("l.weight", 0), Move("n.running_mean", 0), Move("m.weight", 1))),))
    rng = np.random.default_rng(0)
    a = {"l.weight": rng.standard_normal((4, 3)), "m.weight": rng.standard_normal((2, 4))}
    b = {"l.weight": a["l.weight"][::-1], "m.weight": a["m.weight"][:, ::-1]}
    statistics = {"n.running_mean": 1e6 * rng.standard_normal(4)}
    found = weight_matching(spec, {**a, **statistics}, {**b, **statistics})
    assert found.orders["P"].tolist() == [3, 2, 1, 0]


def test_sweeps_have_an_end() -> None:
    found = weight_matching(MLP, mlp(0), mlp(1), sweeps=1)
    assert (found.sweeps, found.converged) == (1, False)


def test_seeds_may_end_in_different_places() -> None:
    ends = {round(weight_matching(MLP, mlp(0), mlp(1), seed=seed).after.ab, 6) for seed in range(8)}
    assert len(ends) > 1
    again = [weight_matching(MLP, mlp(0), mlp(1), seed=4).orders["P0"].tolist() for _ in range(2)]
    assert again[0] == again[1]


def test_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ImportError, match="halted"):  # it is there, and something else has stopped its import
        weight_matching(MLP, mlp(0), mlp(1))
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(WeightmathError, match=r"needs scipy.*\n.*pip install 'weightmath\[lab\]'"):
        weight_matching(MLP, mlp(0), mlp(1))
