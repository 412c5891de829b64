"""What a plan says that a run reads, against what sources were asked for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.engine.small import LAYOUT, SETTINGS, small, some_arrays  # noqa: F401
from tests.engine.whole import memory_input, plan_of, run
from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.names import Table
from weightmath.engine import search as searching
from weightmath.engine.cost import bytes_read
from weightmath.methods import load

pytestmark = pytest.mark.usefixtures("small")

CASES: dict[str, Callable[[Vector, Vector], Vector]] = {
    "elementwise": lambda x, y: x + 0.5 * y,
    "static zeros": lambda x, y: x + Table((("blocks*", 0.0), ("*", 1.0))) * y,
    "narrowed": lambda x, y: x + f.only(y - x, "head*"),
    "a choice by names": lambda x, y: f.where(f.match("blocks*"), x, y),
    "rounds": lambda x, y: x + f.norm(y - x, scope="tensor") * y,
    "two rounds": lambda x, y: x + f.max((y - x) / f.norm(y, scope="tensor"), scope="tensor"),
    "rows": lambda x, y: x + f.norm(y, scope="row") * f.std(y, scope="row"),
    "a pass": lambda x, y: x + f.norm(y),
    "rounds, known later": lambda x, y: x + f.norm(y / f.norm(y, scope="tensor")) * y / f.norm(y, scope="tensor"),
    "a selection": lambda x, y: x + f.keep_largest(y - x, 0.3),
    "selections": lambda x, y: x + f.keep_largest(y, 0.3, scope="tensor") + f.quantile(x, 0.5, scope="layer"),
    "trivial cells": lambda x, y: x + f.keep_largest(y, Table((("blocks*", 1), ("*", 0.5))), scope="layer"),
    "ties": lambda x, y: load()["ties"].call(x, [y, x + 1], scope="row"),
}


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_bytes_read(monkeypatch, case, wide):
    monkeypatch.setattr(searching, "sample_ranges", lambda n, *args, **options: [(0, (n + 1) // 2), (n - n // 9, n)])
    x = memory_input("x", some_arrays(1))
    y = memory_input("y", some_arrays(2, "f8" if wide else "f4"))
    value = CASES[case](x, y)
    # A sample that misleads would cost a reading more.
    monkeypatch.setattr(searching.Selector, "sample", lambda selector, blocks: None)
    said = bytes_read(plan_of(value, layout=LAYOUT))
    run(value, settings=SETTINGS[1], layout=LAYOUT)
    widths = ((x, 4), (y, 8 if wide else 4))
    assert said == sum(width * sum(source.source.origin.reads.values()) for source, width in widths)
    assert said > 0
