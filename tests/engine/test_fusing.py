"""Programs with loops of machine code, against the same programs without: the same bits, and fewer registers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as trying
from hypothesis import strategies as st

from tests.engine import test_any_graph as any_graph
from tests.engine.small import LAYOUT, SETTINGS, assert_same_bits, set_limits, small, some_arrays  # noqa: F401
from tests.engine.whole import memory_input, plan_of, run
from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.engine import fusing
from weightmath.engine.execute import Settings
from weightmath.engine.program import Compiler, Program

HALVES = [memory_input(name, some_arrays(seed, "f2")) for seed, name in enumerate("xyz")]
x, y, z = HALVES


@pytest.fixture
def fusing_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusing, "WORTH_FUSING", 1)


def program_of(value: Vector, name: str = "embed", template: Vector | None = None) -> Program:
    plan = plan_of(value, template=template)
    (program,) = Compiler(plan, plan.layout.names.index(name), frozenset(), loops=True).rounds(
        (), plan.request.outputs, (), ()
    )
    return program


def both_ways(value: Vector, settings: Settings, monkeypatch: pytest.MonkeyPatch, **options: object) -> None:
    """Run it with and without loops: outputs, and what is told of them, are the same."""
    monkeypatch.setattr(fusing, "WORTH_FUSING", 1)
    expected, told = run(value, settings=settings, **options)
    found, told_of_loops = run(value, settings=replace(settings, loops=True), **options)
    assert_same_bits(found, expected, "loops")
    one, other = (results.outcomes["out"] for results in (told, told_of_loops))
    assert one.tensors == other.tensors
    np.testing.assert_array_equal(one.parts, other.parts)


@given(value=any_graph.vectors | any_graph.masks, order=st.permutations(range(len(LAYOUT))))
@trying(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_any_graph(value: Vector, order: list[int]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        set_limits(monkeypatch)
        value = value if value.domain == 5 else value + any_graph.a
        both_ways(value, SETTINGS[1], monkeypatch, order=order, template=any_graph.a, layout=LAYOUT)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "value",
    [
        0.5 * x + 0.3 * y + 0.2 * z,
        x + f.std(y, scope="tensor") * (y - x),
        x + f.std(y, scope="row") * (y - x),
        x + f.keep_largest(y - x, 0.2, scope="global") * 0.5 + (z - x),
        f.where(f.abs(x) > f.abs(y), x, f.exp(z)) * f.match("*.w"),
        (x - y) ** 2 + f.abs(x) ** 0.5 + (y**3 - z),
        x + 0.1 * f.gaussian(seed=1) * y + f.uniform(seed=2) + f.rademacher(seed=3) * f.bernoulli(0.3, seed=4),
        f.model(x),
        x + f.keep_largest(any_graph.wide - x, 0.2, scope="global"),
        x + f.keep_smallest(y - x, 0.2, scope="layer"),
        f.only(x, "*.w") * 2 + f.only(y, "*bias") * 3,
    ],
    ids=str,
)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_halves(value: Vector, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for template in (None, x, z, x + y):
        both_ways(value, settings, monkeypatch, template=template)


@pytest.mark.usefixtures("fusing_all")
def test_an_average_needs_the_register_of_its_result_alone() -> None:
    program = program_of(0.5 * x + 0.3 * y + 0.2 * z, template=x)
    assert program.registers == 1
    assert len(program.steps) == 3 + 1 + 1  # inputs, a loop, and the output


@pytest.mark.usefixtures("fusing_all")
def test_a_loop_reads_few_arrays_at_a_time() -> None:
    many = [memory_input(f"m{i}", some_arrays(i, "f2")) for i in range(9)]
    program = program_of(f.sum(many))
    assert len(program.steps) == len(many) + 3 + 1  # four, three and the sum, two and the sum; and the output
    assert program.registers <= 2


@pytest.mark.usefixtures("fusing_all")
def test_long_formulas_are_cut_and_planned_in_linear_time() -> None:
    value = x
    for number in range(1000):
        value = f.abs(value) + (y if number % 2 else z)
    assert 2000 / 100 <= len(program_of(value).steps) <= 2000 / 100 + 10


@pytest.mark.usefixtures("fusing_all")
def test_what_the_rest_needs_is_stored() -> None:
    difference = y - x
    program = program_of(difference * 2 + f.exp(difference) * f.exp(x))
    assert [type(step).__name__ for step in program.steps].count("Bound") == len(program.steps)


def test_small_models_go_without() -> None:
    assert fusing.is_worth(1 << 24)
    assert not fusing.is_worth(1 << 23)
