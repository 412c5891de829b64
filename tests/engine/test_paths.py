"""Ways through the engine that only some tensors take: mixed dtypes, packs, rounds, wide selections, deep graphs."""

from __future__ import annotations

import numpy as np
import pytest

from tests.engine.small import LAYOUT, SETTINGS, SHAPES, a, assert_same_bits, b, c, small, some_arrays  # noqa: F401
from tests.engine.whole import Memory, memory_input, run, whole
from weightmath import functions as f
from weightmath import methods
from weightmath.algebra.graph import Vector
from weightmath.algebra.names import Table
from weightmath.engine import execute
from weightmath.engine import search as searching
from weightmath.engine.plan import WHOLE_TENSOR
from weightmath.engine.tables import Tables

pytestmark = pytest.mark.usefixtures("small")
d = b - a
SCOPES = ("row", "tensor", "layer", "global")


def check(value: Vector, layout=LAYOUT, rtol: float = 2e-6) -> None:
    """The engine against the reference, in any chunks and order."""
    first, _ = run(value, settings=SETTINGS[0], layout=layout)
    expected = whole(value, layout)
    assert set(first) == set(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(first[name], array, rtol=rtol, atol=rtol, err_msg=name)
    for settings in SETTINGS[1:]:
        assert_same_bits(first, run(value, settings=settings, layout=layout)[0], f"{settings}")
    backwards = tuple(reversed(range(len(layout))))
    assert_same_bits(first, run(value, settings=SETTINGS[2], order=backwards, layout=layout)[0], "backwards")


# --- statistics


@pytest.mark.parametrize("scope", SCOPES)
def test_statistics_of_statistics(scope):
    centred = a - f.mean(a, scope=scope)
    unit = centred / f.maximum(f.std(centred, scope=scope), 0.1)
    check(a + f.norm(unit, scope="global") * d)


def test_nested_scopes_take_several_passes():
    unit = d / f.norm(d, scope="layer")
    kept = f.keep_largest(unit / f.maximum(f.norm(unit, scope="row"), 0.01), 0.3, scope="global")
    value = a + f.quantile(kept, 0.9, scope="tensor") * d
    check(value)
    assert run(value)[1].reads >= 3


def test_arithmetic_of_statistics_does_not_depend_on_who_shares_the_chunk():
    third = f.norm(d, scope="layer") / (3 * f.norm(a, scope="layer")) + f.norm(a, scope="re:(.*)") / 7
    check(a * (third - f.norm(d) / 3))


@pytest.mark.parametrize("scope", SCOPES)
def test_methods_on_everything(scope):
    load = methods.load()
    check(load["ties"].call(a, [b, c], densities=[0.2, 0.5], scope=scope))
    check(load["dare"].call(a, [b, c], densities=Table((("blocks*", 0.3), ("*", 0.8)))))


def test_a_statistic_of_a_statistic_counts_elements():
    check(a + f.sum(f.mean(a, scope="row"), scope="global") / 1000)
    check(a + f.quantile(f.norm(a, scope="tensor"), 0.5, scope="global"))


def test_a_selection_of_what_is_constant_on_rows():
    check(a + f.keep_largest(f.norm(d, scope="row") * f.sign(d), 0.3, scope="tensor"))


# --- dtypes


@pytest.mark.parametrize("scope", SCOPES)
def test_float64_tensors_among_float32(scope):
    wide = {
        name: array.astype("f8" if "w" in name or name == "embed" else "f4") for name, array in some_arrays(5).items()
    }
    wide["embed"] += 1e-12 * np.arange(1200).reshape(40, 30)  # ties in float32, none in float64
    x = memory_input("x", wide)
    delta = x - a
    for value in (a + delta, a + f.keep_largest(delta, 0.3, scope=scope), a + f.quantile(x, 0.2, scope=scope) * d):
        check(value)
    got, _ = run(a + f.norm(delta, scope=scope) * delta)
    assert {name: array.dtype for name, array in got.items()} == {name: wide[name].dtype for name in SHAPES}


# --- shapes


@pytest.mark.parametrize(
    "shape", [(), (0,), (1,), (0, 5), (5, 0), (64,), (65,), (1, 64), (1, 65), (2, 3, 0), (129, 1), (2, 512)]
)
@pytest.mark.parametrize("scope", SCOPES)
def test_any_shape_alone(shape, scope):
    x, y = (memory_input(name, some_arrays(seed, shapes={"only.1": shape})) for name, seed in (("x", 6), ("y", 7)))
    layout = x.source.layout
    check(x + f.keep_largest(y - x, 0.5, scope=scope) * f.std(y, scope=scope), layout)
    check(x + f.median(y, scope=scope), layout)
    check(methods.load()["slerp"].call(x, y, t=0.25, scope=scope), layout)


def test_no_tensors_at_all():
    nothing = memory_input("nothing", {})
    got, results = run(nothing + f.norm(nothing), [f.norm(nothing), f.norm(nothing, scope="layer")])
    assert got == {}
    assert results.watched[0][1] == 0


def test_many_tiny_tensors():
    shapes = {f"t.{i % 7}.{i}": (1 + i % 5,) for i in range(80)}
    x, y = (memory_input(name, some_arrays(seed, shapes=shapes)) for name, seed in (("x", 6), ("y", 7)))
    delta = y - x
    for scope in SCOPES:
        check(x + f.keep_largest(delta, 0.4, scope=scope) + f.mean(delta, scope=scope), x.source.layout)
    check(methods.load()["slerp"].call(x, y, scope="layer"), x.source.layout)
    check(
        methods.load()["weighted_average"].call([x, y], weights=[f.norm(x, scope="layer") + 1, f.ramp(1, 2)]),
        x.source.layout,
    )


# --- selections that go wrong before they go right


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("density", [0, 0.001, 0.5, 0.999, 1])
def test_densities(scope, density):
    check(a + f.keep_largest(d, density, scope=scope) + f.keep_smallest(d, density, scope=scope))


@pytest.mark.parametrize("trouble", ["miss", "overflow", "both"])
@pytest.mark.parametrize("scope", SCOPES)
def test_a_misled_or_overflowing_selection_is_exact(monkeypatch, trouble, scope):
    plain = searching.Selector

    def mislead(selector, blocks):
        if trouble != "overflow":
            selector._read_next(selector.bracket.hi - 1, selector.bracket.hi)

    monkeypatch.setattr(plain, "sample", mislead)
    if trouble != "miss":
        monkeypatch.setattr(searching, "Selector", lambda *args, **options: plain(*args, **{**options, "budget": 1}))
    rng = np.random.default_rng(8)
    x = memory_input("x", {n: rng.standard_normal(shape).astype("f4") for n, shape in SHAPES.items()})
    value = a + f.keep_largest(x - a, 0.25, scope=scope) + f.quantile(x, 0.4, scope=scope)
    check(value)
    before = dict(x.source.origin.reads)
    readings = run(value)[1].reads
    if scope in ("row", "tensor"):  # of one tensor after the other
        assert readings == 1
        assert x.source.origin.reads["head.1.long"] - before["head.1.long"] > 3 * 1400
    else:
        assert readings > 2


def test_selections_that_sample_different_tensors():
    x = memory_input("x", {name: array for name, array in some_arrays(15).items() if name > "c"}, kind="delta")
    check(a + f.keep_largest(x, 0.2) + f.keep_largest(d, 1) + f.keep_largest(c - a, 0.3) * f.keep_largest(d, 0))


def test_a_selection_of_one_value():
    same = memory_input("same", {name: np.full(shape, 0.5, "f4") for name, shape in SHAPES.items()})
    for scope in SCOPES:
        check(a + f.keep_largest(same - 0, 0.3, scope=scope))


# --- signs of zero, and what is not a number


def _special() -> dict[str, np.ndarray]:
    arrays = some_arrays(9)
    for array in arrays.values():
        flat = array.reshape(-1)
        flat[::5], flat[1::7], flat[2::11], flat[3::13] = np.nan, -0.0, np.inf, -np.inf
    return arrays


def test_where_and_keep_hand_on_every_bit():
    x = memory_input("x", _special())
    arrays, b_arrays = x.source.origin.arrays, b.source.origin.arrays
    got, _ = run(f.where(b > 0, x, b))
    for name in SHAPES:
        expected = np.where(b_arrays[name] > 0, arrays[name], b_arrays[name])
        assert got[name].tobytes() == expected.tobytes(), name
    everything, _ = run(f.keep_largest(x, 1, scope="tensor"))
    assert_same_bits(everything, arrays, "keep all")
    for scope in SCOPES:
        kept, _ = run(f.keep_largest(x, 0.5, scope=scope))
        for name, array in kept.items():
            chosen = array.view("u4") != 0
            assert array[chosen].tobytes() == arrays[name][chosen].tobytes()
    half, _ = run(f.where(f.keep_largest(x, 0.3, scope="global") == 0, 0, 1) + 0 * a)
    kept_count = sum(int(np.nansum(array)) for array in half.values())
    size = sum(array.size for array in arrays.values())
    assert kept_count == int(0.3 * size)


def test_nan_goes_through_statistics():
    x = memory_input("x", _special())
    got, _ = run(0 * f.gaussian(seed=1) + f.sum(x, scope="tensor") + 0 * a, settings=SETTINGS[1])
    assert all(np.isnan(array).all() for name, array in got.items() if array.size > 10)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("nan", [np.float32(np.nan), -np.float32(np.nan)])
def test_a_quantile_among_nan_is_nan(scope, nan):
    arrays = some_arrays(12)
    for name in ("blocks.0.w", "blocks.1.w", "head.1.long", "one"):
        arrays[name].flat[-1] = nan
    x = memory_input("x", arrays)
    check(0 * f.gaussian(seed=1) + f.quantile(x, 0.3, scope=scope) + 0 * a)


def test_a_mask_from_a_file_is_truth_values():
    mask = memory_input("m", some_arrays(10), kind="mask")
    check(f.where(mask, a, b))
    check(a * mask + b * ~mask)


# --- what names decide


def test_a_factor_of_zero_skips_the_reading():
    x = memory_input("x", some_arrays(11))
    value = a + Table((("blocks*", 0.0), ("head*", 1.0), ("*", 0.5))) * x
    check(value)
    origin: Memory = x.source.origin
    assert set(origin.reads) == {name for name in SHAPES if not name.startswith("blocks") and name != "empty"}
    got, _ = run(1.0 * x)
    assert_same_bits(got, origin.arrays, "a factor of 1")


def test_a_mask_by_name_reads_one_branch():
    x, y = memory_input("x", some_arrays(12)), memory_input("y", some_arrays(13))
    check(f.where(f.match("blocks*"), x, y))
    assert all(name.startswith("blocks") for name in x.source.origin.reads)
    assert not any(name.startswith("blocks") for name in y.source.origin.reads)


def test_sampling_reads_samples(monkeypatch):
    x = memory_input("x", some_arrays(14))
    monkeypatch.setattr(searching, "sample_ranges", lambda n, *args, **options: [(0, min(n, 64))])
    value = a + f.keep_largest((x - a) / f.maximum(f.norm(x, scope="tensor"), 0.1), 0.1)
    check(value)


# --- presence


@pytest.mark.parametrize("scope", SCOPES)
def test_parts(scope):
    part = {name: array for name, array in some_arrays(15).items() if name.startswith(("blocks.1", "embed"))}
    x = memory_input("x", part, kind="delta")
    check(a + x)
    check(a - x + f.keep_largest(x, 0.4, scope=scope))
    check(a + x * f.norm(x, scope=scope))
    check(a + f.cosine(x, d, scope=scope) * d)
    check(a + f.quantile(x, 0.3, scope=scope) + f.mean(x, scope=scope))
    check(f.overlay(a, f.model(x)))
    check(f.where(x > 0, a, b))
    check(a + f.minimum(x, 0) + f.median([x, d, d]))


def test_statistics_count_what_is_there():
    part = {name: array for name, array in some_arrays(15).items() if name.startswith("blocks.1")}
    x = memory_input("x", part, kind="delta")
    _, results = run(a + x, [f.density(f.abs(x) >= 0), f.mean(x, scope="global"), f.min(f.abs(x) + 1, scope="global")])
    values = np.concatenate([array.reshape(-1) for array in part.values()]).astype("f8")
    watched = [value for _, value in results.watched]
    np.testing.assert_allclose(watched, [1, values.mean(), 1 + np.abs(values).min()])


# --- depth


def test_thousands_of_terms():
    value = a
    for i in range(3000):
        value = value + (i % 3 - 1) * d
    got, _ = run(value)
    expected = a.source.origin.arrays
    for name, array in got.items():
        np.testing.assert_array_equal(array, expected[name])


def test_thousands_of_steps():
    x = a
    for _ in range(2000):
        x = f.maximum(-x, f.minimum(x, 1))
    run(x)


def test_a_sample_says_the_same_whatever_comes_first(monkeypatch):
    monkeypatch.setattr(searching, "sample_ranges", lambda n, *args, **options: [(i, i + 5) for i in range(0, n, 9)])
    seen: set[tuple[int, int]] = set()
    plain = searching.Selector.sample

    def sample(selector, blocks):
        plain(selector, blocks)
        seen.add((selector.bracket.lo, selector.bracket.hi))

    monkeypatch.setattr(searching.Selector, "sample", sample)
    x = memory_input("x", {n: np.random.default_rng(3).standard_normal(s).astype("f4") for n, s in SHAPES.items()})
    for settings in SETTINGS:
        for order in (tuple(range(len(LAYOUT))), tuple(reversed(range(len(LAYOUT))))):
            run(f.keep_largest(x, 0.3), settings=settings, order=order, layout=LAYOUT)
    assert len(seen) == 1


def test_whole_tensors_are_let_go_where_only_a_statistic_is_asked_for(monkeypatch):
    made: list[Tables] = []

    class Seen(Tables):
        def __init__(self, plan):
            super().__init__(plan)
            made.append(self)

    monkeypatch.setattr(execute, "Tables", Seen)
    ranks = f.norm(f.rank(d, scope="tensor"), scope="tensor")
    run(f.only(a, "one"), [ranks])
    held = [node for node, values in made[0].local.items() if node.op in WHOLE_TENSOR and values]
    assert any(node.op in WHOLE_TENSOR for node in made[0].local)
    assert held == []
