"""Methods of whole matrices, streamed, against the papers' formulas on whole arrays in plain float64 numpy."""

import numpy as np
import pytest

from tests.engine.whole import memory_input, run
from weightmath import functions as f
from weightmath.engine.execute import Settings
from weightmath.errors import RecipeError
from weightmath.methods import load

METHODS = load()
SHAPES = {
    "bias": (300,),
    "conv": (8, 4, 3, 3),
    "empty": (0, 3),
    "flag": (),
    "narrow": (40, 3),
    "weight": (220, 300),  # more than a tile
    "wide": (3, 30_000),  # two tiles
}
BASE, A, B = (
    {name: rng.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}
    for rng in map(np.random.default_rng, range(3))
)
base, a, b = (memory_input(name, arrays) for name, arrays in (("base", BASE), ("a", A), ("b", B)))


def svd(x):
    return np.linalg.svd(x, full_matrices=False)


def polar(x):
    u, _, v = svd(x)
    return u @ v


def tsv(x, y):
    each = min(x.shape) // 2
    (u, s, v), (p, q, r) = svd(x), svd(y)
    u, s, v = (
        np.hstack([u[:, :each], p[:, :each]]),
        np.concatenate([s[:each], q[:each]]),
        np.vstack([v[:each], r[:each]]),
    )
    return polar(u) @ np.diag(s) @ polar(v)


def iso_c(x, y):
    u, s, v = svd(x + y)
    return s.mean() * u @ v


def iso_cts(x, y):
    rank = min(x.shape)
    each = round((rank - int(rank * 0.8)) / 2)
    u, s, v = (part.copy() for part in svd(x + y))
    common = u[:, : rank - 2 * each].copy()
    for delta, place in ((x, slice(rank - 2 * each, rank - each)), (y, slice(rank - each, rank))):
        own = svd(delta - common @ (common.T @ delta))
        u[:, place], s[place], v[place] = own[0][:, :each], own[1][:each], own[2][:each]
    return s.mean() * polar(u) @ polar(v)


def knots(x, y):
    u, s, v = svd(np.hstack([x, y]))
    parts = [part.copy() for part in np.split(s[:, None] * v, 2, axis=1)]
    for part in parts:
        order = np.argsort(-np.abs(part), axis=None)
        part.reshape(-1)[order[int(0.2 * part.size) :]] = 0
    elected = np.sign(parts[0] + parts[1])
    agree = [(np.sign(part) == elected) & (part != 0) for part in parts]
    return u @ (sum(part * yes for part, yes in zip(parts, agree, strict=True)) / np.maximum(sum(agree), 1))


def wudi(x, y):
    merged, first, second = x + y, 0.0, 0.0
    for step in range(1, 4):
        gradient = sum(2 * (merged - d) @ d.T @ d / np.sum(d * d) for d in (x, y))
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        merged = merged - 0.01 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return merged


CASES = [("tsv", tsv), ("iso_c", iso_c), ("iso_cts", iso_cts), ("knots", knots)]


def expected(formula, deltas):
    """A formula of matrices on one tensor; the mean of what is no matrix."""
    if deltas[0].ndim < 2 or deltas[0].size == 0:
        return np.mean(deltas, axis=0)
    return formula(*[delta.reshape(len(delta), -1) for delta in deltas]).reshape(deltas[0].shape)


def check(value, formula, models, scale, names=tuple(SHAPES)):
    """The streamed value is base + scale * formula(deltas), and settings do not change its bits."""
    got, _ = run(value, settings=Settings(1, 65_536))
    again, _ = run(value, settings=Settings(2, 131_072))
    assert set(got) == set(names)
    for name in names:
        np.testing.assert_array_equal(got[name], again[name], err_msg=name)
        # The engine subtracts in float32.
        deltas = [(arrays[name] - BASE[name]).astype(np.float64) for arrays in models]
        wanted = BASE[name] + scale * expected(formula, deltas)
        np.testing.assert_allclose(got[name], wanted, rtol=1e-5, atol=2e-5, err_msg=name)


@pytest.mark.parametrize(("name", "formula"), CASES)
def test_multi_task_methods(name, formula):
    check(METHODS[name].call(base, [a, b], scale=0.7), formula, (A, B), 0.7)


# WUDI holds squares of a matrix's columns: 30,000 are too many for a test.
NARROW = [name for name in SHAPES if name != "wide"]


def narrow(name, arrays):
    return memory_input(f"narrow {name}", {entry: arrays[entry] for entry in NARROW})


def test_wudi():
    value = METHODS["wudi"].call(narrow("base", BASE), [narrow("a", A), narrow("b", B)], steps=3, rate=0.01, scale=0.7)
    check(value, wudi, (A, B), 0.7, NARROW)


@pytest.mark.parametrize("rank", [1, 5, 1000])
def test_low_rank(rank):
    def truncated(x):
        u, s, v = svd(x)
        return (u[:, :rank] * s[:rank]) @ v[:rank]

    check(METHODS["low_rank"].call(base, a, rank=rank, scale=1.5), truncated, (A,), 1.5)


def test_low_rank_by_energy():
    def truncated(x):
        u, s, v = svd(x)
        rank = 1 + int(np.sum(np.cumsum(s**2) < 0.6 * np.sum(s**2)))
        return (u[:, :rank] * s[:rank]) @ v[:rank]

    check(METHODS["low_rank"].call(base, a, energy=0.6), truncated, (A,), 1)


def test_low_rank_recovers_an_adapter():
    rng = np.random.default_rng(5)
    factors = rng.standard_normal((220, 4)) @ rng.standard_normal((4, 300))
    tuned = memory_input("tuned", {**BASE, "weight": (BASE["weight"] + factors).astype(np.float32)})
    got, _ = run(METHODS["low_rank"].call(base, tuned, rank=4))
    np.testing.assert_allclose(got["weight"], BASE["weight"] + factors, atol=1e-5)


def test_low_rank_comes_closer_as_the_rank_grows():
    errors = []
    for rank in (1, 2, 4, 8):
        got, _ = run(METHODS["low_rank"].call(base, a, rank=rank))
        errors.append(np.linalg.norm(got["conv"] - A["conv"]))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-4 < errors[0]


@pytest.mark.parametrize("options", [{}, {"rank": 2, "energy": 0.5}])
def test_low_rank_takes_a_rank_or_an_energy(options):
    with pytest.raises(RecipeError, match="a rank or an energy"):
        METHODS["low_rank"].call(base, a, **options)


@pytest.mark.parametrize("options", [{"rank": 0}, {"energy": 0}, {"energy": 1.5}, {"rank": 2.5}])
def test_ranks_and_energies_have_ranges(options):
    with pytest.raises(RecipeError, match=next(iter(options))):
        METHODS["low_rank"].call(base, a, **options)


@pytest.mark.parametrize("name", ["tsv", "iso_c", "iso_cts", "knots", "wudi"])
def test_a_base_merged_with_itself_is_itself(name):
    same = narrow("base", BASE)
    got, _ = run(METHODS[name].call(same, [same, same]))
    for entry in NARROW:
        np.testing.assert_array_equal(got[entry], BASE[entry])


def test_a_function_of_matrices_can_be_left_out_of_tensors_by_name():
    value = base + f.sum([f.without(a - base, "conv"), f.only(f.truncated_svd(a - base, rank=1), "conv")])
    got, _ = run(value)
    np.testing.assert_allclose(got["weight"], A["weight"], atol=1e-6)
    assert np.linalg.matrix_rank((got["conv"] - BASE["conv"]).reshape(8, -1), tol=1e-4) == 1


def test_what_is_not_finite_stays_within_its_tensor():
    broken = memory_input("broken", {**A, "conv": np.full(SHAPES["conv"], np.nan, np.float32)})
    got, _ = run(METHODS["iso_c"].call(base, [broken, b]))
    assert np.isnan(got["conv"]).all()
    assert all(np.isfinite(array).all() for name, array in got.items() if name != "conv")


def test_statistics_of_a_matrix_function_are_taken_of_its_values():
    skill = f.truncated_svd(a - base, rank=2)
    got, _ = run(base + skill / f.norm(skill, scope="tensor"))
    for name in ("conv", "weight"):
        step = got[name].astype(np.float64) - BASE[name]
        assert np.linalg.norm(step) == pytest.approx(1, rel=1e-3)
