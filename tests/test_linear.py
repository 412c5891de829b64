"""What a vector is as a sum of inputs: its coefficients, and whether it is an average."""

import pytest

from weightmath import functions as f
from weightmath.algebra.graph import Input, input_vector
from weightmath.algebra.names import Table
from weightmath.dtypes import FLOAT32
from weightmath.engine.linear import coefficients, is_average, is_difference
from weightmath.engine.plan import Output, Request, make_plan
from weightmath.layout import Entry, Layout

LAYOUT = Layout.of(Entry(name, (2, 3), FLOAT32) for name in ("head.w", "net.0.w", "net.1.w"))
a, b = (input_vector(Input(name, LAYOUT)) for name in "ab")
d = input_vector(Input("d", LAYOUT, "delta"))
part = input_vector(Input("part", Layout.of(entry for entry in LAYOUT if entry.name != "head.w"), part=True))


def planned(value):
    return make_plan(Request(LAYOUT, (Output("out", value),)))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.25 * a + 0.75 * b, {"a": [0.25] * 3, "b": [0.75] * 3}),
        (a + 1.5 * (b - a), {"a": [-0.5] * 3, "b": [1.5] * 3}),
        (-(a - b) / 2, {"a": [-0.5] * 3, "b": [0.5] * 3}),
        (f.lerp(a, b, f.ramp(0, 1, otherwise=0.5)), {"a": [0.5, 1, 0], "b": [0.5, 0, 1]}),
        (f.where(f.match("net.*"), a, b), {"a": [0, 1, 1], "b": [1, 0, 0]}),
        (f.overlay(a, part), {"a": [1, 0, 0], "part": [0, 1, 1]}),
        (f.without(a, "head.*"), {"a": [0, 1, 1]}),
        (f.model(f.delta(a) + b), {"a": [1] * 3, "b": [1] * 3}),
        (a * b, None),
        (a / b, None),
        (f.abs(a), None),
        (a * f.norm(b), None),
        (a / Table((("head.*", 0), ("*", 2))), None),
        (a * 1e200 * 1e200, None),
        (f.keep_largest(a - b, density=0.5), None),
    ],
    ids=str,
)
def test_coefficients(value, expected):
    found = coefficients(value, planned(f.model(value)))
    assert (found and {str(vector): numbers.tolist() for vector, numbers in found.items()}) == expected


@pytest.mark.parametrize(
    ("value", "average"),
    [
        (f.mean([a, b, a]), True),
        (f.weighted_mean([a, b], [0.1, 0.2]), True),
        (f.overlay(f.mean([a, b]), part), True),
        (f.only(0.5 * a, "net.*") + 0.5 * b, True),
        (f.where(f.layer(1), a, b), True),
        (a + 1.5 * (b - a), False),
        (f.model(2 * a), False),
        (f.model(0.5 * a), False),
        (f.median([a, b]), False),
        (a + f.gaussian(seed=1), False),
        (a + d, True),
        (0.5 * (a + b) + 0.3 * d, True),
        (a + 1.5 * d, False),
        (a - 0.5 * d, False),
    ],
    ids=str,
)
def test_averages(value, average):
    assert is_average(value, planned(value)) is average


@pytest.mark.parametrize(
    ("value", "difference"),
    [(b - a, True), (3 * (b - a) - d, True), (f.keep_largest(b - a, 0.5), False), (0.5 * a + 0.5 * b, False)],
    ids=str,
)
def test_differences(value, difference):
    assert is_difference(value, planned(value)) is difference
