"""Values of expressions: folding against Python's own float arithmetic, vectors against the same Python operators."""

import math
import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightmath.algebra.graph import Input, Vector, input_vector, vector
from weightmath.algebra.names import Table
from weightmath.errors import KindError, RecipeError
from weightmath.expression import evaluate
from weightmath.layout import Layout

a, b = (input_vector(Input(name, Layout(()))) for name in "ab")
table = Table((("*.bias", 0.0), ("*", 1.0)))
NAMES = {"a": a, "b": b, "runs": [a, b], "strength": 0.5, "n": 3, "word": "layer", "table": table, "flag": True}


def scaled(x: Vector, *, by: float = 1, scope: str = "global") -> Vector:
    if scope not in ("global", "layer"):
        raise RecipeError(f"unknown scope `{scope}`", where="scaled()", hint="did you mean `layer`?")
    return x * by


def value(text: str):
    return evaluate(text, NAMES, {"scaled": scaled}, where="merge.yaml:9: let.x")


def message(text: str) -> str:
    with pytest.raises((RecipeError, KindError)) as caught:
        value(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 ** 3", 8),
        ("-2 ** 2", -4),
        ("2 ** -1", 0.5),
        ("7 / 7", 1.0),
        ("n - 1", 2),
        ("2 * strength", 1.0),
        ("0.1 + 0.2", 0.1 + 0.2),
        ("2 ** 53 + 1", 2.0**53),
        ("010", 10),
        ("strength < 1", True),
        ("(strength > 0) & ~(n == 3)", False),
        ("flag | false", True),
        ("[1, strength, word]", [1, 0.5, "layer"]),
        ("[1, 2, n][-1]", 3),
        ("'re:\\d+'", "re:\\d+"),
    ],
)
def test_constants(text, expected):
    result = value(text)
    assert result == expected
    assert type(result) is type(expected)


def test_negative_zero_keeps_its_sign():
    assert math.copysign(1, value("-0.0")) == -1


@given(
    st.floats(-1e300, 1e300),
    st.floats(-1e300, 1e300),
    st.sampled_from([("+", operator.add), ("-", operator.sub), ("*", operator.mul)]),
)
def test_folding_is_float64(x, y, sign):
    expected = sign[1](x, y)
    if math.isfinite(expected):
        assert evaluate(f"x {sign[0]} y", {"x": x, "y": y}, {}) == expected
    else:
        with pytest.raises(RecipeError, match="too large for a float64"):
            evaluate(f"x {sign[0]} y", {"x": x, "y": y}, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + strength * (b - a)", a + 0.5 * (b - a)),
        ("-a ** 2 / b", -(a**2) / b),
        ("2 - a", 2 - a),
        ("(a > 0.5) & ~(b != a) | (a <= b)", ((a > 0.5) & ~(b != a)) | (a <= b)),
        ("runs[-1] - runs[0]", b - a),
        ("scaled(a, by=strength)", a * 0.5),
        ("table * a", vector(table) * a),
        ("1 - table", 1 - vector(table)),
        ("-table", -vector(table)),
    ],
)
def test_vectors_are_the_same_nodes_as_in_python(text, expected):
    assert value(text) is expected


def test_nothing_is_a_node_that_was_not_asked_for():
    assert value("a") is a
    assert value("table") is table


def test_long_sums():
    total = value("+".join(["a"] * 3000))
    for _ in range(2999):
        total = total.args[0]
    assert total is a


MESSAGES = {
    "a + strenght": """\
merge.yaml:9: let.x: unknown name `strenght`
  a + strenght
      ^^^^^^^^
  hint: did you mean `strength`?""",
    "scald(a)": """\
merge.yaml:9: let.x: unknown function `scald`
  scald(a)
  ^^^^^^^^
  hint: did you mean `scaled`?""",
    "__import__('os')": """\
merge.yaml:9: let.x: unknown function `__import__`
  __import__('os')
  ^^^^^^^^^^^^^^^^
  hint: the functions here are: scaled""",
    "a + scaled": """\
merge.yaml:9: let.x: `scaled` is a function or method, and here it is not called
  a + scaled
      ^^^^^^
  hint: write scaled(...)""",
    "strength(a - b)": """\
merge.yaml:9: let.x: `strength` is not a function
  strength(a - b)
  ^^^^^^^^^^^^^^^
  hint: is a `*` missing before the bracket?""",
    "1 + scaled(a, scope='layr')": """\
merge.yaml:9: let.x: scaled(): unknown scope `layr`
  1 + scaled(a, scope='layr')
      ^^^^^^^^^^^^^^^^^^^^^^^
  hint: did you mean `layer`?""",
    "b * (a & b)": """\
merge.yaml:9: let.x: `&` takes masks, and `a` is not one
  b * (a & b)
       ^^^^^
  hint: comparisons make masks; put them in parentheses: (a > b) & (c > d)""",
    "(a > 0) | 1": """\
merge.yaml:9: let.x: `|` takes masks, and `1` is a number
  (a > 0) | 1
  ^^^^^^^^^^^
  hint: comparisons make masks; put them in parentheses: (a > b) & (c > d)""",
    "a + word": """\
merge.yaml:9: let.x: `+` takes vectors and numbers, and 'layer' is text
  a + word
  ^^^^^^^^""",
    "2 * runs": """\
merge.yaml:9: let.x: `*` takes vectors and numbers, and there is a list of 2 here
  2 * runs
  ^^^^^^^^
  hint: sum(list) and mean(list) combine the vectors of a list; list[0] is the first""",
    "a * flag": """\
merge.yaml:9: let.x: `*` takes vectors and numbers, and `true` is a truth value
  a * flag
  ^^^^^^^^""",
    "runs[2]": """\
merge.yaml:9: let.x: index 2 is outside a list of 2
  runs[2]
  ^^^^^^^
  hint: the first is 0, the last is -1""",
    "n[0]": """\
merge.yaml:9: let.x: an index takes an item of a list, and `3` is a number
  n[0]
  ^^^^""",
    "2 ** a": """\
merge.yaml:9: let.x: an exponent must be a plain number
  2 ** a
  ^^^^^^
  hint: exp(log(a) * x) raises a to a vector x""",
    "a ** table": """\
merge.yaml:9: let.x: an exponent must be a plain number
  a ** table
  ^^^^^^^^^^
  hint: exp(log(a) * x) raises a to a vector x""",
    "9 ** 9 ** 9": """\
merge.yaml:9: let.x: the result is too large for a float64
  9 ** 9 ** 9
  ^^^^^^^^^^^""",
    "a * (1 / (n - 3))": """\
merge.yaml:9: let.x: division by zero
  a * (1 / (n - 3))
       ^^^^^^^^^^^""",
    "(-8) ** 0.5": """\
merge.yaml:9: let.x: a negative number has no real power with a fraction in the exponent
  (-8) ** 0.5
  ^^^^^^^^^^^""",
    "a b": """\
merge.yaml:9: let.x: `b` does not belong here
  a b
    ^
  hint: is a `*` or a comma missing?""",
}


@pytest.mark.parametrize("text", MESSAGES, ids=repr)
def test_message(text):
    assert message(text) == MESSAGES[text]


def test_a_kind_error_stays_one():
    with pytest.raises(KindError):
        value("a & b")
