"""The lazy graph: interning, domains, masks, operators, and what they refuse."""

from __future__ import annotations

import gc
import math

import numpy as np
import pytest

from weightmath import functions as f
from weightmath.algebra import graph
from weightmath.algebra.graph import Input, Vector, constant, input_vector, node, topological, vector
from weightmath.algebra.names import Match, Table
from weightmath.errors import KindError, RecipeError
from weightmath.layout import Layout
from weightmath.scope import Domain

a, b = (input_vector(Input(name, Layout(()))) for name in "ab")
mask = input_vector(Input("m", Layout(()), kind="mask"))


def test_the_same_is_one_node():
    assert a + b is a + b
    assert a + b is not b + a
    assert 0.5 * (a - b) is 0.5 * (a - b)
    assert f.norm(a, scope="layer") is f.norm(a, scope="layer")
    assert f.norm(a, scope="layer") is not f.norm(a, scope="tensor")
    assert a * Table((("*", 1.0),)) is a * Table((("*", 1.0),))
    assert f.match("*.w") is f.match("*.w")


def test_interning_keys_on_types_and_bits():
    assert constant(-0.0) is not constant(0.0)
    assert constant(1) is constant(1.0)  # numbers are float64
    assert f.gaussian(seed=1) is not f.gaussian(seed=2)
    assert a * 0.1 is not a * math.nextafter(0.1, 1)
    assert node("x", a, domain=Domain.ELEMENT, n=1) is not node("x", a, domain=Domain.ELEMENT, n=1.0)
    assert node("x", a, domain=Domain.ELEMENT, n=True) is not node("x", a, domain=Domain.ELEMENT, n=1)


def test_inputs_of_one_name_are_two_nodes():
    one, other = (Input("a", Layout(())) for _ in range(2))
    assert input_vector(one) is not input_vector(other)
    assert input_vector(one) is input_vector(one)


def test_nodes_that_nobody_holds_are_forgotten():
    def count() -> int:
        gc.collect()
        return len(graph._interned)

    before = count()
    big = a
    for i in range(100):
        big = big + float(i + 1000)
    assert count() >= before + 100
    del big
    assert count() <= before + 1


@pytest.mark.parametrize(
    ("value", "domain"),
    [
        (constant(1), "CONSTANT"),
        (f.norm(a), "GLOBAL"),
        (f.norm(a, scope="layer"), "GROUP"),
        (f.norm(a, scope="tensor"), "TENSOR"),
        (f.match("x"), "TENSOR"),
        (f.norm(a, scope="row"), "ROW"),
        (a, "ELEMENT"),
        (f.gaussian(seed=1), "ELEMENT"),
        (f.norm(a) + f.norm(a, scope="row"), "ROW"),
        (a * f.norm(a), "ELEMENT"),
        (f.norm(a, scope="layer") > 0.5, "GROUP"),
        (f.all(f.norm(a, scope="layer") > 0.5), "GLOBAL"),
        (f.keep_largest(a, 0.1), "ELEMENT"),
        (f.bernoulli(0.5, seed=1), "ELEMENT"),
    ],
)
def test_domains(value, domain):
    assert value.domain is Domain[domain]


def test_what_is_static():
    assert all(each.static for each in (constant(1), f.match("x"), 1 - f.ramp(0, 1), ~f.match("x"), f.ramp(0, 1) ** 2))
    assert not any(each.static for each in (a, f.norm(a), f.ramp(0, 1) * a, f.gaussian(seed=1)))


def test_what_is_a_mask():
    masks = [a > b, a == b, (a > b) & mask, ~mask, mask, f.match("x"), f.largest_mask(a, 0.1), f.bernoulli(0.1, seed=1)]
    assert all(each.is_mask for each in [*masks, f.only(mask, "x"), f.norm(a) > 1])
    assert not any(each.is_mask for each in (a, a * mask, mask + mask, f.ramp(0, 1), f.keep_largest(a, 0.1), -mask))


@pytest.mark.parametrize("number", [np.int64(2), np.float32(2), np.float64(2), np.uint8(2)])
def test_numbers_of_numpy_are_numbers(number):
    assert (a + b) / number is (a + b) / 2.0
    assert number * a is 2.0 * a
    assert a**number is a**2.0
    assert (a > number) is (a > 2.0)
    assert f.lerp(a, b, number / 4) is f.lerp(a, b, 0.5)
    assert f.gaussian(seed=number) is f.gaussian(seed=2)
    with pytest.raises(RecipeError, match="division by zero"):
        a / (number - number)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: a * np.array([1.0]), "cannot be used in arithmetic"),
        (lambda: np.array([1.0]) * a, "cannot be used in arithmetic"),
        (lambda: a * np.True_, "cannot be used in arithmetic"),
        (lambda: a * 10**400, "a number must be finite, not inf"),
        (lambda: np.mean(a), "has no numbers yet, and is no array"),
        (lambda: np.asarray(a), "weightmath.evaluate gives"),
        (lambda: np.stack([a, b]), "has no numbers yet, and is no array"),
        (lambda: bool(a), "is neither true nor false"),
        (lambda: a and b, "combine masks with & | ~"),
        (lambda: 0 < a < 1, "is neither true nor false"),
        (lambda: a / 0, "division by zero"),
        (lambda: a**b, "an exponent must be a plain number"),
        (lambda: 2**a, "exp(log(a) * x) raises a to a vector x"),
        (lambda: a + "x", "the text 'x' cannot be used in arithmetic"),
        (lambda: a * [1], "a list cannot be used in arithmetic"),
        (lambda: a + True, "`True` cannot be used in arithmetic"),
        (lambda: a + None, "`None` cannot be used in arithmetic"),
        (lambda: a * math.inf, "a number must be finite"),
        (lambda: a * math.nan, "a number must be finite"),
        (lambda: a[0], "`a` is one vector, not a list"),
    ],
)
def test_refused(make, message):
    with pytest.raises(RecipeError) as caught:
        make()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "make", [lambda: a & b, lambda: ~a, lambda: (a > b) | 1, lambda: a & (a > b), lambda: (a > b) & a]
)
def test_logic_is_for_masks(make):
    with pytest.raises(KindError, match=r"takes masks, and `.*` is not one"):
        make()


def test_coefficients_are_a_list():
    shares = f.coefficients("slerp", f.gram([a, b]), t=0.5, straight=0.9995)
    assert shares[0] is shares[-2]
    assert shares[1].domain is Domain.GLOBAL
    with pytest.raises(RecipeError, match="index 2 is outside a list of 2"):
        shares[2]


def test_walks_are_not_recursive():
    deep = a
    for _ in range(20_000):
        deep = -deep
    order = topological([deep, a])
    assert len(order) == 20_001
    assert order[0] is a
    assert order[-1] is deep


def test_operands_come_first():
    value = (a + b) * (a - b)
    order = topological([value])
    assert len(order) == len(set(order)) == 5

    place = {id(each): i for i, each in enumerate(order)}
    assert all(place[id(arg)] < place[id(each)] for each in order for arg in each.args)


def test_vectors_are_values_of_operators():
    assert vector(a) is a
    assert vector(2).option("value") == 2.0
    assert vector(Table((("*", 2.0),))).op == "by_name"
    assert isinstance(a != b, Vector)
    assert len({a, b, a}) == 2
    assert f.match("x").option("rule") == Match(("x",))
