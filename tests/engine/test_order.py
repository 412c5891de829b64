"""The order of work: what stands between the rounds of a group."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from weightmath.engine.order import _due, _Waiting


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
