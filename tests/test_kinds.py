"""Kinds: the weight of every operation, rule by rule, and what is said where a kind is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from tests.engine.whole import layout_of, memory_input, plan_of
from weightmath import functions as f
from weightmath import methods
from weightmath.algebra.graph import Vector
from weightmath.algebra.kinds import RULES, check, kind_of
from weightmath.algebra.names import Table
from weightmath.engine.plan import Output, Plan, Request, make_plan
from weightmath.errors import KindError
from weightmath.layout import Layout

SHAPES = {"x.0": (2,), "x.1": (3, 2)}
ARRAYS = {name: np.ones(shape, "f4") for name, shape in SHAPES.items()}
base, chat, code = (memory_input(name, ARRAYS) for name in ("base", "chat", "code"))
fisher = memory_input("fisher", ARRAYS, kind="other")
taken = memory_input("taken", ARRAYS, kind="mask")
given = memory_input("given", ARRAYS, kind="delta")
delta = chat - base
unknown = math.nan


def weight(vector: Vector) -> list[float]:
    return list(plan_of(vector, layout=layout_of(ARRAYS)).facts.weights[vector])


def planned(value: Vector, where: str | None = "merge.yaml:9: save.out") -> Plan:
    layout: Layout = layout_of(ARRAYS)
    return make_plan(Request(layout, (Output("out", value, where=where),)))


RULE: dict[str, tuple[Callable[[], Vector], float]] = {
    "model": (lambda: base, 1),
    "delta": (lambda: given, 0),
    "other": (lambda: fisher, unknown),
    "mask": (lambda: taken, 0),
    "sum": (lambda: base + chat, 2),
    "difference": (lambda: base - chat, 0),
    "negated": (lambda: -base, -1),
    "average": (lambda: (base + chat + code) / 3, 1),
    "sum of unknown": (lambda: base + fisher, unknown),
    "number as a term": (lambda: base + 0.5, 1),
    "statistic as a term": (lambda: base + f.mean(base, scope="tensor"), 1),
    "number as a factor": (lambda: 0.5 * base, 0.5),
    "statistic as a factor": (lambda: f.norm(base) * base, unknown),
    "statistic as a factor of a delta": (lambda: delta * f.norm(base), 0),
    "arithmetic of numbers as a factor": (lambda: base * f.ramp(1, 1) / 4, 0.25),
    "product of models": (lambda: base * chat, unknown),
    "product with a delta": (lambda: base * delta, 0),
    "product with a mask": (lambda: base * (chat > 0), unknown),
    "delta times a mask": (lambda: delta * (chat > 0), 0),
    "product of masks": (lambda: (base > 0) * (chat > 0), unknown),
    "quotient by a number": (lambda: base / 4, 0.25),
    "quotient by a statistic": (lambda: base / f.norm(base), unknown),
    "delta by a statistic": (lambda: delta / f.norm(delta), 0),
    "quotient by a vector": (lambda: base / chat, unknown),
    "delta by a vector": (lambda: delta / fisher, 0),
    "number by a vector": (lambda: 1 / base, unknown),
    "power": (lambda: base**2, unknown),
    "power of a delta": (lambda: delta**2, 0),
    "where of models": (lambda: f.where(delta > 0, base, chat), 1),
    "where of both": (lambda: f.where(taken, base, delta), unknown),
    "min": (lambda: f.minimum(base, chat), 1),
    "max of both": (lambda: f.maximum(base, delta), unknown),
    "clamp": (lambda: f.clamp(base, chat, code), 1),
    "median": (lambda: f.median([base, chat, code]), 1),
    "median of both": (lambda: f.median([base, delta]), unknown),
    "abs": (lambda: f.abs(base), unknown),
    "abs of a delta": (lambda: f.abs(delta), 0),
    "keep": (lambda: f.keep_largest(delta, 0.2), 0),
    "keep of a model": (lambda: f.keep_largest(base, 0.2), unknown),
    "comparison": (lambda: base > chat, 0),
    "logic": (lambda: ~(base > chat), 0),
    "largest mask": (lambda: f.largest_mask(base, 0.2), 0),
    "bernoulli": (lambda: f.bernoulli(f.abs(base), seed=1), 0),
    "noise": (lambda: f.gaussian(seed=1), 0),
    "cast to a model": (lambda: f.model(base + chat), 1),
    "cast to a delta": (lambda: f.delta(0.1 * base), 0),
    "narrowed": (lambda: f.only(base, "x.0"), 1),
    "overlaid": (lambda: f.overlay(base, chat), 1),
    "lerp": (lambda: f.lerp(base, chat, 0.3), 1),
    "statistic": (lambda: base * 0 + f.norm(base), 0),
}


@pytest.mark.parametrize("name", RULE)
def test_rule(name):
    make, expected = RULE[name]
    assert weight(make()) == pytest.approx([expected, expected], nan_ok=True)


def test_weights_are_taken_by_tensor():
    table = Table((("x.0", 0.25), ("*", 2)))
    assert weight(table * base) == [0.25, 2]
    assert weight(base / table) == [4, 0.5]
    assert weight(base * f.match("x.0")) == [1, 0]
    assert weight(f.where(f.match("x.0"), base, delta)) == [1, 0]
    assert weight(f.overlay(base, f.only(delta, "x.1"))) == [1, 0]
    assert weight(f.lerp(base, chat, table)) == [1, 1]


def test_rules_name_operations_that_exist():
    from weightmath.kernels.elementwise import KERNELS

    others = {"declared", "only", "cast", "largest_mask", "bernoulli", "random", "rank", "constant", "by_name"}
    assert set(RULES) - others <= set(KERNELS) | {"both", "either"}


@pytest.mark.parametrize(
    ("weights", "word"),
    [
        ([1, 1], "model"),
        ([1 + 1e-7, 1], "model"),
        ([0, 0], "delta"),
        ([2, 2], "weight 2"),
        ([1, 0], "mixed"),
        ([1, unknown], "unknown"),
        ([], "unknown"),
    ],
)
def test_kind_in_a_word(weights, word):
    assert kind_of(np.array(weights, dtype=float)) == word


# --- what is refused


def refused(value: Callable[[], Vector]) -> str:
    with pytest.raises(KindError) as caught:
        planned(value())
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda: base + chat, "`base + chat` must be a model, and this has weight 2: it adds up to 2 models"),
        (lambda: base + chat, "hint: divide by 2 for an average, subtract the base from all but one"),
        (lambda: 0.9 * base, "this has weight 0.9"),
        (lambda: Table((("x.0", 1), ("*", 0.5))) * base, "this has weight 0.5"),
        (lambda: base * f.match("x.0"), "this is a delta: its weights cancel (weight 0)"),
        (lambda: f.where(f.match("x.0"), base + chat, f.abs(base)), "this has weight 2"),
        (lambda: methods.load()["ties"].call(delta, [chat]), "`base` of ties(), `chat - base`, must be a model"),
        (lambda: methods.load()["ties"].call(delta, [chat]), "add it to a model: base + delta; or say that it is one"),
    ],
)
def test_refused_with_the_fix(value, message):
    assert message in refused(value)


def test_an_output_is_named_where_it_is_saved():
    assert refused(lambda: base + chat).startswith("merge.yaml:9: save.out: `base + chat`")


@pytest.mark.parametrize(
    "value", [lambda: base, lambda: delta, lambda: f.abs(base), lambda: base > 0, lambda: base * chat]
)
def test_models_deltas_masks_and_the_unknown_may_be_saved(value):
    planned(value())


def test_a_tenth_thrice_is_three_tenths():
    weights = sum([0.1 * base] * 3, 0.7 * chat)
    planned(weights)


def test_statistics_are_not_saved():
    with pytest.raises(KindError, match="is a number or statistic and cannot be saved"):
        planned(f.norm(base))


def test_deltas_where_models_are_declared():
    with pytest.raises(KindError, match=r"subtract the base: x - base"):
        check("delta", np.array([1.0]), lambda: "`x`")
    check("delta", np.array([unknown, 0.0]), lambda: "`x`")
    with pytest.raises(KindError, match=r"(?s)`models` of ties\(\).*is a delta"):
        planned(methods.load()["ties"].call(base, [chat - base]))
