"""Nodes as source text: what is printed is what was meant when it is read again, node for node."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightmath import functions as f
from weightmath.algebra.graph import Input, Vector, input_vector
from weightmath.algebra.names import Table
from weightmath.algebra.show import quoted, shown_number
from weightmath.errors import RecipeError
from weightmath.expression import evaluate
from weightmath.functions import FUNCTIONS
from weightmath.layout import Layout
from weightmath.methods import load

a, b, c = (input_vector(Input(name, Layout(()))) for name in "abc")
CALLABLES = {name: entry.call for name, entry in FUNCTIONS.items()}


def read_again(vector: Vector) -> Vector:
    return evaluate(str(vector), {"a": a, "b": b, "c": c}, CALLABLES)


@pytest.mark.parametrize(
    ("vector", "text"),
    [
        ((a > 0) & (b > 0), "(a > 0) & (b > 0)"),
        ((a > 0) & (b > 0) | ~(c == a), "(a > 0) & (b > 0) | ~(c == a)"),
        ((a > 0) & ((b > 0) | (c > 0)), "(a > 0) & ((b > 0) | (c > 0))"),
        ((a > b) == (b > c), "(a > b) == (b > c)"),
        (((a > b) & (b > c)) != (a > 0), "((a > b) & (b > c)) != (a > 0)"),
        (a - (b - c), "a - (b - c)"),
        (a - b - c, "a - b - c"),
        (a / (b * c), "a / (b * c)"),
        (-(a + b), "-(a + b)"),
        (-a * b, "-a * b"),
        (-(a**2), "-a ** 2"),
        ((-a) ** 2, "(-a) ** 2"),
        ((a**2) ** 3, "(a ** 2) ** 3"),
        (a**-0.5, "a ** -0.5"),
        (a * -0.5, "a * -0.5"),
        (-0.5 * a, "-0.5 * a"),
        (a + 0.1 * (b - a), "a + 0.1 * (b - a)"),
        (1 / 3 * a, "0.3333333333333333 * a"),
        (a * -0.0, "a * -0.0"),
        (1e-30 * a, "1e-30 * a"),
        (f.abs(a), "abs(a)"),
        (f.median([a, b, c]), "median([a, b, c])"),
        (f.std(a, scope="layer"), "std(a, scope='layer')"),
        (f.quantile(a, 0.5), "quantile(a, q=0.5, scope='global')"),
        (f.only(a, "*.w", r"re:\d+'s"), "only(a, '*.w', \"re:\\d+'s\")"),
        (f.without(a, "*.w"), "without(a, '*.w')"),
        (f.overlay(a, b), "overlay(a, b)"),
        (f.model(a + b), "model(a + b)"),
        (f.gaussian(seed=7), "gaussian(seed=7)"),
        (f.bernoulli(0.1, seed=7, label="x"), "bernoulli(0.1, label='x', seed=7)"),
        (f.keep_largest(a - b, 0.2), "keep_largest(a - b, density=0.2, scope='global')"),
        (f.keep_smallest(a, f.ramp(0, 1), scope="tensor"), "keep_smallest(a, density=ramp(0, 1), scope='tensor')"),
        (f.where(f.largest_mask(a, 0.1), a, b), "where(largest_mask(a, density=0.1, scope='global'), a, b)"),
        (f.where(f.match(r"re:\d"), a, b), r"where(match('re:\d'), a, b)"),
        (f.lerp(a, b, f.ramp(0, 0.5, along=r"re:x(\d)", otherwise=2)), None),
        (a * f.blocks("sdxl", "BASE=0", otherwise=0.5), "a * blocks('sdxl', 'BASE=0', otherwise=0.5)"),
        (f.where(f.layer(0, 2) | f.matrices(), a, b), "where(layer(0, 2) | matrices(), a, b)"),
        (f.sum([f.norm(a), f.dot(a, b)]), None),
        (f.gram([a, b]), None),
        (f.low_rank(a, 8) if hasattr(f, "low_rank") else f.rank(a), None),
    ],
)
def test_text(vector, text):
    assert text is None or str(vector) == text
    assert read_again(vector) is vector


def test_a_table_shows_its_patterns():
    assert str(a * Table((("*.w", 0.5), ("*", 1)))) == "a * {'*.w': 0.5, '*': 1}"


def test_declared_kinds_do_not_show():
    assert str(load()["task_arithmetic"].call(a, [b])) == "a + 1 * (1 * (b - a))"


def test_what_is_deep_is_cut():
    deep = a
    for _ in range(1000):
        deep = deep + b
    assert str(deep).startswith("...")
    assert len(str(deep)) < 100


def test_what_is_wide_is_cut():
    """Eight times as much with every median, without an end to it."""
    wide = a
    for _ in range(12):
        wide = f.median([wide] * 8)
    assert str(wide).count("median(") == 4096
    halves = a
    for _ in range(11):
        halves = halves - halves
    assert str(halves).count("a") == 2048
    assert "..." not in str(halves)


def test_messages_have_the_ends_of_what_is_long():
    long = f.median([a + i * b for i in range(100)])
    with pytest.raises(RecipeError) as caught:
        long[0]
    told = str(caught.value)
    assert told.startswith("`median([a + 0 * b, a + 1 * b, ")
    assert told.endswith(" * b, a + 99 * b])` is one vector, not a list")
    assert len(told) < 250
    assert len(str(long)) > 1000


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_exact(value):
    again = evaluate(shown_number(value), {}, {})
    assert again == value
    assert math.copysign(1, again) == math.copysign(1, value) or isinstance(again, int)


def test_quotes():
    assert quoted("a") == "'a'"
    assert quoted("it's") == '"it\'s"'


numbers = st.floats(-1e3, 1e3, allow_nan=False).map(lambda x: round(x, 3) + 0.0)
vectors = st.deferred(lambda: st.sampled_from([a, b, c]) | combined | chosen | called)
masks = st.deferred(
    lambda: (
        st.builds(lambda x, y, op: op(x, y), vectors, vectors | numbers, st.sampled_from(COMPARE))
        | st.builds(lambda x: ~x, masks)
        | st.builds(lambda x, y: x & y, masks, masks)
        | st.builds(lambda x, y: x | y, masks, masks)
        | st.builds(lambda x, y: x == y, masks, masks)
    )
)
COMPARE = [Vector.__lt__, Vector.__gt__, Vector.__le__, Vector.__ge__, Vector.__eq__, Vector.__ne__]
JOIN = [Vector.__add__, Vector.__sub__, Vector.__mul__, Vector.__radd__, Vector.__rsub__, Vector.__rmul__]
combined = (
    st.builds(lambda x, y, op: op(x, y), vectors, vectors | numbers, st.sampled_from(JOIN))
    | st.builds(lambda x: -x, vectors)
    | st.builds(lambda x, y: x / y, vectors, vectors | st.just(-2.5))
    | st.builds(lambda x, y: x**y, vectors, st.sampled_from([2.0, -1.0, 0.5]))
)
chosen = st.builds(f.where, masks, vectors, vectors | numbers)
called = (
    st.builds(f.abs, vectors)
    | st.builds(lambda x, y: f.median([x, y]), vectors, vectors)
    | st.builds(lambda x, s: x * f.norm(x, scope=s), vectors, st.sampled_from(["row", "layer", r"re:(\d)"]))
    | st.builds(f.keep_largest, vectors, st.sampled_from([0.5, 1.0]))
)


@given(vectors | masks)
def test_any_graph_reads_back_as_itself(vector):
    if "..." not in str(vector):
        assert read_again(vector) is vector
