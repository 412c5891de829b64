"""What a run tells besides its files: values of show and expect, changes against the template, bytes read."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from tests.engine.small import LAYOUT, SETTINGS, SHAPES, A, B, a, b, c, small, some_arrays  # noqa: F401
from tests.engine.whole import memory_input, run, whole
from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.engine import outcome as outcome_module
from weightmath.engine.execute import Settings
from weightmath.engine.frame import Frame
from weightmath.errors import RecipeError
from weightmath.scope import Scope

pytestmark = pytest.mark.usefixtures("small")
d = b - a


def watched(value: Vector, settings: Settings = SETTINGS[1]) -> object:
    return run(a + 0, [value], settings=settings, layout=LAYOUT)[1].watched[0][1]


@pytest.mark.parametrize("scope", ["tensor", "layer", "global", r"re:(blocks|head)"])
@pytest.mark.parametrize("name", ["norm", "mean", "std", "count", "min", "max", "density", "sum", "median"])
def test_watched_values(name, scope):
    value = getattr(f, name)(d, scope=scope)
    expected = whole(2 * value + 1, LAYOUT)
    got = watched(2 * value + 1)
    if scope == "global":
        got = {"": got}
    assert set(got) == {tensor if scope == "tensor" else Scope(scope).cell(tensor) for tensor in SHAPES}
    for tensor, array in expected.items():
        if array.size:
            cell = tensor if scope == "tensor" else Scope(scope).cell(tensor)
            assert got[cell] == pytest.approx(array.flat[0], rel=1e-12, abs=1e-12)
    for settings in SETTINGS:
        assert watched(2 * value + 1, settings) == watched(2 * value + 1), settings


def test_a_watched_value_takes_the_cells_of_its_own_statistics():
    inner = d / f.maximum(f.norm(d, scope="re:(.*)"), 0.1)
    got = watched(f.norm(inner, scope="layer"))
    assert set(got) == {Scope("layer").cell(name) for name in SHAPES}


def test_statistics_of_two_groupings_are_shown_by_tensor():
    value = f.norm(d, scope="layer") * f.norm(a, scope=r"re:(blocks|head)")
    got, expected = watched(value), whole(value, LAYOUT)
    assert set(got) == set(SHAPES)
    assert got["embed"] == pytest.approx(expected["embed"].flat[0])
    assert got["blocks.0.w"] == pytest.approx(expected["blocks.0.w"].flat[0])


def test_rows_are_shown_as_arrays():
    value = f.norm(d, scope="row") / f.maximum(f.norm(d, scope="tensor"), 0.1)
    got, expected = watched(value), whole(value, LAYOUT)
    for name, array in expected.items():
        rows = array.reshape(len(array), -1)[:, 0] if array.ndim > 1 and array.size else array.reshape(-1)[:1]
        if array.size:
            np.testing.assert_allclose(got[name], rows, err_msg=name)
    for settings in SETTINGS:
        again = watched(value, settings)
        assert all(np.array_equal(again[name], got[name]) for name in got)


def test_a_value_for_every_element_is_not_shown():
    with pytest.raises(RecipeError, match="has a value for every element"):
        watched(a)


def test_a_statistic_of_an_empty_tensor():
    got = watched(f.std(d, scope="tensor"))
    assert got["empty"] == 0


def test_expectations_over_cells():
    assert watched(f.all(f.norm(a, scope="tensor") >= 0)) == 1
    assert watched(f.any(f.max(a, scope="layer") > 100)) == 0


# --- against the template


def outcome(value: Vector, settings: Settings, **options):
    return run(value, settings=settings, template=a, layout=LAYOUT, **options)[1].outcomes["out"]


def test_changes_are_counted_against_the_template():
    value = a + f.only(f.keep_largest(d, 0.2), "blocks*")
    result = outcome(value, SETTINGS[1])
    got, _ = run(value, layout=LAYOUT)
    for name in SHAPES:
        if A[name].size:
            change = result.tensors[name]
            assert change.elements == A[name].size
            assert change.changed == np.count_nonzero(got[name].view("u4") != A[name].view("u4"))
            assert change.nonfinite == 0
    new, old = (np.concatenate([x[name].reshape(-1).astype("f8") for name in SHAPES]) for x in (got, A))
    assert result.relative_change == pytest.approx(np.linalg.norm(new - old) / np.linalg.norm(old), rel=1e-6)
    assert result.cosine == pytest.approx(new @ old / np.linalg.norm(new) / np.linalg.norm(old), rel=1e-9)


@pytest.mark.parametrize("dtype", ["f4", "f2"])
def test_a_template_is_compared_though_its_numbers_are_worked_on_in_place(dtype):
    arrays = {name: array.astype(dtype) for name, array in A.items()}
    template = memory_input("t", arrays)
    got, results = run(2 * template + 1, settings=SETTINGS[1], template=template)
    outcome = results.outcomes["out"]
    for name, change in outcome.tensors.items():
        old = arrays[name].astype("f4")
        assert change.changed == np.count_nonzero(got[name].view("u4") != old.view("u4"))
    new, old = (np.concatenate([x[name].reshape(-1).astype("f8") for name in SHAPES]) for x in (got, arrays))
    assert outcome.relative_change == pytest.approx(np.linalg.norm(new - old) / np.linalg.norm(old), rel=1e-6)


@pytest.mark.parametrize("sampled", [False, True])
def test_the_summary_depends_on_no_order(monkeypatch, sampled):
    if sampled:
        monkeypatch.setattr(outcome_module, "_LOOKED_AT", sum(map(np.size, A.values())) // 3)
    x = memory_input(
        "x", {name: np.random.default_rng(4).standard_normal(shape).astype("f4") for name, shape in SHAPES.items()}
    )
    results = [outcome(a + 0.3 * x, settings) for settings in SETTINGS for _ in range(3)]
    results.append(outcome(a + 0.3 * x, SETTINGS[0], order=tuple(reversed(range(len(LAYOUT))))))
    assert {result.sampled for result in results} == {sampled}
    assert len({result.moments.tobytes() for result in results}) == 1
    assert results[0].moments.all()


def test_what_is_not_finite_is_counted_by_tensor():
    arrays = some_arrays(5)
    arrays["embed"][3, 4], arrays["embed"][5, 6], arrays["one"][0] = np.nan, np.inf, -np.inf
    result = outcome(a + memory_input("x", arrays), SETTINGS[2])
    assert {name: change.nonfinite for name, change in result.tensors.items() if change.nonfinite} == {
        "embed": 2,
        "one": 1,
    }
    assert np.isnan([result.relative_change, result.cosine]).all()


def test_nothing_changed():
    result = outcome(a * 1, SETTINGS[1])
    assert sum(change.changed for change in result.tensors.values()) == 0
    assert (result.relative_change, result.cosine) == (0, pytest.approx(1))


def test_no_template_no_comparison():
    result = run(a + d)[1].outcomes["out"]
    assert (result.relative_change, result.cosine) == (None, None)
    assert sum(change.elements for change in result.tensors.values()) == sum(array.size for array in B.values())


def test_progress_and_reads():
    value = a + f.keep_largest(d, 0.2, scope="global")
    assert run(value)[1].reads == 2
    assert run(a + d)[1].reads == 1
    assert run(a + f.norm(d) * d + f.norm(a, scope="layer") * d)[1].reads == 2
    assert run(a + f.norm(d / f.norm(d)) * d)[1].reads == 3
    assert run(a + f.norm(d, scope="tensor") * d)[1].reads == 1


def test_frames_go_without_a_search_for_garbage():
    gc.collect()
    gc.disable()
    try:
        run(a + 0.3 * f.keep_largest(d, 0.2), settings=SETTINGS[2], template=a, layout=LAYOUT)
        assert not [thing for thing in gc.get_objects() if type(thing) is Frame]
    finally:
        gc.enable()
