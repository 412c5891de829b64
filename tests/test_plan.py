"""Plans: passes, what is read and written in them, groups, and what is refused before anything is read."""

from __future__ import annotations

import numpy as np
import pytest

from tests.engine.small import LAYOUT, SHAPES, a, b, c, set_limits, some_arrays
from tests.engine.whole import layout_of, memory_input, plan_of
from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.names import Table
from weightmath.dtypes import DTYPES, FLOAT32, FLOAT64
from weightmath.engine.plan import Output, Request, Watched, make_plan
from weightmath.errors import RecipeError
from weightmath.layout import Entry
from weightmath.methods import load

d = b - a


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    set_limits(monkeypatch)


def passes(value: Vector, *watched: Vector) -> list[tuple[list[str], bool, list[str], list[str]]]:
    """For each pass: statistics that end it, whether it writes, statistics that it keeps, inputs that it reads."""
    return [
        (
            [str(node) for node in one.statistics],
            bool(one.outputs),
            [str(node) for node in one.kept],
            sorted(str(node) for node in one.reads),
        )
        for one in plan_of(value, watched, layout=LAYOUT).passes
    ]


def test_elementwise_is_one_pass():
    assert passes(a + 0.5 * d) == [([], True, [], ["a", "b"])]


def test_statistics_of_tensors_and_rows_need_no_pass():
    assert passes(a + f.norm(d, scope="tensor") * d / f.std(d, scope="row")) == [([], True, [], ["a", "b"])]


def test_wide_statistics_share_a_pass():
    value = a + f.norm(d) * f.mean(c, scope="layer") * d
    assert passes(value) == [
        (["norm(b - a, scope='global')", "mean(c, scope='layer')"], False, [], ["a", "b", "c"]),
        ([], True, [], ["a", "b"]),
    ]


def test_statistics_of_statistics_wait():
    unit = d / f.norm(d)
    found = passes(a + f.mean(unit, scope="global") + f.max(c, scope="global"))
    assert [one[0] for one in found] == [
        ["norm(b - a, scope='global')", "max(c, scope='global')"],
        ["mean((b - a) / norm(b - a, scope='global'), scope='global')"],
        [],
    ]
    assert [one[3] for one in found] == [["a", "b", "c"], ["a", "b"], ["a"]]


def test_cells_wider_than_a_tensor_are_selected_from_in_a_pass():
    for scope, count in (("row", 1), ("tensor", 1), ("layer", 2), ("global", 2)):
        assert len(passes(a + f.keep_largest(d, 0.1, scope=scope))) == count


def test_what_is_shown_is_kept_in_the_pass_that_knows_it():
    norm = f.norm(d, scope="tensor")
    assert passes(a + d, norm) == [([], True, [str(norm)], ["a", "b"])]
    later = f.norm(d / f.norm(d), scope="tensor")
    assert [one[2] for one in passes(a + d, later)] == [[], [str(later)]]
    total = f.norm(c)
    assert passes(a + d, total) == [([str(total)], True, [], ["a", "b", "c"])]


def test_nothing_to_save():
    plan = make_plan(Request(LAYOUT, (), (Watched("norm(a)", f.norm(a)),)))
    assert [(len(one.statistics), one.outputs) for one in plan.passes] == [(1, ())]


def test_bytes():
    plan = plan_of(a + f.norm(d) * d, layout=LAYOUT)
    size = sum(entry.nbytes for entry in LAYOUT)
    assert plan.bytes_written() == size
    half = make_plan(Request(LAYOUT, (Output("out", a + d, dtype=DTYPES["float16"]),)))
    assert half.bytes_written() == size // 2


def test_float64_where_an_input_is():
    wide = memory_input("wide", {name: x.astype("f8" if name == "one" else "f4") for name, x in some_arrays(1).items()})
    plan = plan_of(a + wide, layout=LAYOUT)
    assert [str(dtype) for dtype in plan.compute_dtypes] == ["float64" if n == "one" else "float32" for n in SHAPES]
    everywhere = make_plan(Request(LAYOUT, (Output("out", a),), compute=FLOAT64))
    assert set(everywhere.compute_dtypes) == {FLOAT64}
    assert set(plan_of(a).compute_dtypes) == {FLOAT32}


def test_tensors_of_one_kind_share_a_program():
    shapes = {f"blocks.{i}.{name}": shape for i in range(50) for name, shape in (("w", (20, 10)), ("b", (10,)))}
    x, y = (memory_input(name, some_arrays(1, shapes=shapes)) for name in "xy")
    plan = plan_of(x + f.ramp(0, 0, 1) * (y - x))
    # weights and biases, each where the factor is 0, 1, or neither
    assert len(set(plan.group_keys)) == 6


def test_entries_in_the_order_of_work():
    plan = plan_of(a, order=(3, 1, 2, 0, *range(4, len(LAYOUT))), layout=LAYOUT)
    assert plan.order[:4] == (3, 1, 2, 0)
    assert plan_of(a, layout=LAYOUT).order == tuple(range(len(LAYOUT)))


# --- what is refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: f.keep_largest(d, f.density(d)), "the density for `b - a` must be known before the run"),
        (
            lambda: f.keep_largest(d, 2 * f.ramp(0, 1), scope="tensor"),
            "the density must be in [0, 1], and is 2 for `blocks.1.b`",
        ),
        (
            lambda: f.keep_largest(d, Table((("*.w", 0.1), ("*", 0.2)))),
            "the density differs within one cell of scope `global`: 0.2 and 0.1 (`blocks.0.w`)",
        ),
        (lambda: a * Table((("nothing", 1.0), ("*", 2.0))), "the pattern `nothing` matches no tensor"),
        (lambda: a * Table((("*.w", 1.0),)), "no pattern of the table matches the tensor"),
        (lambda: a * (1 / f.match("*.w")), "`1 / match('*.w')` is not finite for `blocks.0.conv`"),
        (lambda: a * (f.ramp(1, 1e200) * 1e200), "is not finite"),
        (lambda: f.only(a, "nothing*"), "the pattern `nothing*` matches no tensor"),
    ],
)
def test_refused(make, message):
    with pytest.raises(RecipeError) as caught:
        plan_of(make(), layout=LAYOUT)
    assert message in str(caught.value)


def test_a_density_per_cell_is_fine():
    plan_of(f.keep_largest(d, Table((("blocks.0*", 0.1), ("*", 0.2))), scope="layer"), layout=LAYOUT)


def test_an_error_stands_where_the_request_says():
    bad = f.keep_largest(d, f.density(d))
    cut = bad.args[1]
    with pytest.raises(RecipeError, match=r"merge\.yaml:7: let\.x"):
        make_plan(Request(LAYOUT, (Output("out", bad),), places={cut: "merge.yaml:7: let.x"}))


def test_planning_reads_nothing():
    x = memory_input("x", some_arrays(1))
    plan_of(load()["ties"].call(a, [x, b]), layout=LAYOUT)
    assert not x.source.origin.reads


def test_thousands_of_tensors_and_nodes():
    shapes = {f"t.{i}": (2,) for i in range(3000)}
    x, y = (memory_input(name, {n: np.ones(s, "f4") for n, s in shapes.items()}) for name in "xy")
    value = load()["ties"].call(x, [y, x, y], densities=0.5)
    plan = plan_of(value + f.norm(y, scope="layer"), layout=layout_of(x.source.origin.arrays))
    assert len(plan.passes) == 2
    assert Entry("t.0", (2,), FLOAT32) in tuple(plan.layout)
