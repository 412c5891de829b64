"""The order of work: what stands between the rounds of a group."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.engine.whole import plan_of
from weightmath import functions as f
from weightmath.algebra.graph import Input, Vector, input_vector
from weightmath.dtypes import DTYPES
from weightmath.engine.grouping import Grouping, readings
from weightmath.engine.order import Order, _due, _Waiting
from weightmath.layout import Entry, Layout
from weightmath.scope import TILE

LAYOUT = Layout.of(Entry(f"{i}.weight", (TILE // 256, 384), DTYPES["float32"]) for i in range(6))
a = input_vector(Input("a", LAYOUT))


@pytest.mark.parametrize(
    ("between", "order"),
    [
        (1, "00 10 01 20 11 02 30 21 12 31 22 32"),
        (2, "00 10 20 01 30 11 21 02 31 12 22 32"),
        (9, "00 10 20 30 01 11 21 31 02 12 22 32"),
    ],
)
def test_rounds_of_other_groups_stand_between_those_of_one(between: int, order: str) -> None:
    waiting: list[_Waiting] = []
    found = []
    for number in range(4):
        group = SimpleNamespace(name=number, programs=(None,) * 3)
        waiting.append(_Waiting(group, [[], [], []], between))  # type: ignore[arg-type]
        found += list(_due(waiting))
    while waiting:
        found += list(_due(waiting))
    assert " ".join(f"{group.name}{number}" for (group, number), _ in found) == order


@pytest.mark.parametrize("value", [f.truncated_svd(a, rank=1), a / f.norm(a, scope="tensor")])
def test_few_whole_tensors_are_held_at_a_time(value: Vector) -> None:
    is_heavy = value.op == "whole_tensor"
    plan = plan_of(value)
    done = SimpleNamespace(round=lambda *_: False, chunk=lambda _: None, copy=lambda *_: None)
    order = Order(plan, {"out": SimpleNamespace(copies=())}, done, TILE, None)  # type: ignore[arg-type,dict-item]
    wanted = readings(plan.passes[0], plan)[1]
    held, most = 0, 0
    for (group, number), _ in list(order.stages(Grouping(plan, TILE).groups(wanted), wanted, between=3))[:-1]:
        if len(group.programs) == 2:
            held += 1 if number == 0 else -1
            most = max(most, held)
    assert most == (2 if is_heavy else 4)
