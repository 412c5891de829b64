"""Every function of the language, at every scope, against plain numpy on whole arrays, in any chunks and order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.engine.small import LAYOUT, SETTINGS, A, B, C, a, assert_same_bits, b, c, small  # noqa: F401
from tests.engine.whole import run, whole
from weightmath import functions as f
from weightmath import methods
from weightmath.algebra.graph import Vector
from weightmath.algebra.names import Table
from weightmath.functions import FUNCTIONS
from weightmath.scope import Domain

SCOPES = ("row", "tensor", "layer", "global", r"re:(blocks|head)")
d = b - a
TABLE = Table((("blocks.*", 0.3), ("*", 0.6)))

# How to call each function: without a scope once, else once per scope.
PLAIN: dict[str, list[Callable[[], Any]]] = {
    "abs": [lambda: f.abs(a), lambda: f.abs(f.mean(a, scope="tensor")) * a],
    "sign": [lambda: f.sign(a)],
    "sqrt": [lambda: f.sqrt(f.abs(a)), lambda: f.sqrt(f.norm(a, scope="row")) * a],
    "exp": [lambda: f.exp(a)],
    "log": [lambda: f.log(f.abs(a) + 1)],
    "tanh": [lambda: f.tanh(a), lambda: f.tanh(f.mean(a, scope="row")) * a],
    "minimum": [lambda: f.minimum(a, b), lambda: f.minimum(a, 0.5), lambda: f.minimum(a, f.mean(b, scope="row"))],
    "maximum": [lambda: f.maximum(a, b), lambda: f.maximum(0.5, a)],
    "clamp": [lambda: f.clamp(a, -0.5, 0.25), lambda: f.clamp(a, b, c)],
    "where": [
        lambda: f.where(a > b, a, b),
        lambda: f.where((a > b) & ~(c == 0) | (a == c), c, 0.25),
        lambda: f.where(f.match("blocks*"), a, b),
        lambda: f.where(f.norm(a, scope="layer") > f.norm(b, scope="layer"), a, b),
    ],
    "round": [lambda: f.round(4 * a)],
    "floor": [lambda: f.floor(4 * a)],
    "lerp": [lambda: f.lerp(a, b, 0.25), lambda: f.lerp(a, b, TABLE), lambda: f.lerp(a, b, c)],
    "gaussian": [lambda: a + f.gaussian(seed=1), lambda: f.gaussian(seed=1, label="x") * f.std(a, scope="tensor")],
    "uniform": [lambda: a + f.uniform(seed=2)],
    "rademacher": [lambda: a * f.rademacher(seed=3)],
    "bernoulli": [
        lambda: a * f.bernoulli(0.3, seed=4),
        lambda: a * f.bernoulli(TABLE, seed=4),
        lambda: a * f.bernoulli(f.density(a, scope="layer"), seed=4),
        lambda: a * f.bernoulli(f.density(a, scope="row"), seed=4),
        lambda: f.where(f.bernoulli(f.abs(a) / 4, seed=4), a, b),
    ],
    "match": [lambda: a * f.match("*.w", "one"), lambda: f.where(~f.match("re:head"), a, b)],
    "layer": [lambda: f.where(f.layer(1), a, b), lambda: a * f.layer(0, 1)],
    "ramp": [lambda: a * f.ramp(0, 0.5, 2), lambda: f.lerp(a, b, f.ramp(0, 1, otherwise=0.125))],
    "matrices": [lambda: f.where(f.matrices(), a, b)],
    "rank": [lambda: a * f.rank(d), lambda: a * f.rank(d, scope="tensor") / f.norm(d, scope="row")],
    "only": [lambda: a + f.only(d, "blocks*"), lambda: a + 0.5 * f.only(d, "*.w") / f.norm(f.only(d, "*.w"))],
    "without": [lambda: a + f.without(d, "blocks*", "empty")],
    "overlay": [lambda: f.overlay(a, f.only(b, "*w*")), lambda: f.overlay(f.without(a, "one"), f.only(b, "one"))],
    "model": [lambda: f.model(a + b)],
    "delta": [lambda: a + f.delta(b)],
    "sum": [lambda: f.sum([a, b, c])],
    "mean": [lambda: f.mean([a, b, c])],
    "median": [lambda: f.median([a, b, c]), lambda: f.median([a, b])],
    "max": [lambda: f.max([a, b, c])],
    "min": [lambda: f.min([a, b, c])],
    "weighted_mean": [lambda: f.weighted_mean([a, b], [1, 3]), lambda: f.weighted_mean([a, b, c], [1, TABLE, 2])],
    "all": [lambda: a + f.all(a >= b), lambda: a + f.all(f.norm(a, scope="tensor") > -1)],
    "any": [lambda: a + f.any(a > b), lambda: a + f.any(f.norm(a, scope="layer") > 100)],
    "plane": [lambda: a + 0.5 * f.plane(a, b, c)[0], lambda: a + 0.5 * f.plane(a, b, c)[1]],
    "principal": [lambda i=i: a + 0.5 * f.principal([a, b, c])[i] for i in range(2)],
    "filter_normalized": [
        lambda: a + f.filter_normalized(f.gaussian(seed=5), a),
        lambda: a + f.filter_normalized(d, like=a, one_dimensional="scale"),
    ],
    "truncated_svd": [lambda: a + f.truncated_svd(d, rank=2), lambda: a + f.truncated_svd(d / f.norm(d), energy=0.5)],
}
SCOPED: dict[str, Callable[[str], Any]] = {
    **{name: lambda s, name=name: getattr(f, name)(d, scope=s) * a for name in ("sum", "mean", "median", "max", "min")},
    **{name: lambda s, name=name: getattr(f, name)(d, scope=s) * a for name in ("std", "norm", "count", "density")},
    "dot": lambda s: f.dot(a, d, scope=s) * b,
    "cosine": lambda s: f.cosine(a, d, scope=s) * b,
    "quantile": lambda s: f.quantile(a, 0.3, scope=s) * b,
    "gram": lambda s: _slerp(a, b, s),
    "keep_largest": lambda s: a + f.keep_largest(d, 0.2, scope=s),
    "keep_smallest": lambda s: a + f.keep_smallest(d, 0.37, scope=s),
    "largest_mask": lambda s: f.where(f.largest_mask(d, 0.1, scope=s), b, a),
}


def _slerp(x: Vector, y: Vector, scope: str) -> Vector:
    result: Vector = methods.load()["slerp"].call(x, y, t=0.3, scope=scope)
    return result


CASES = [(name, "", make) for name, makes in PLAIN.items() for make in makes] + [
    (name, scope, lambda make=make, scope=scope: make(scope)) for name, make in SCOPED.items() for scope in SCOPES
]


def test_every_function_has_a_case():
    # blocks() needs the names of a diffusion network: tests/test_blocks.py
    assert {name for name, _, _ in CASES} | {"blocks"} == set(FUNCTIONS)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("name", "scope", "make"), CASES, ids=[f"{n}-{s}{i}" for i, (n, s, _) in enumerate(CASES)])
def test_function(name: str, scope: str, make: Callable[[], Vector]):
    value = make()
    first, _ = run(value, settings=SETTINGS[0], layout=LAYOUT)
    expected = whole(value, LAYOUT)
    assert set(first) == set(expected)
    for tensor, array in expected.items():
        np.testing.assert_allclose(first[tensor], array, rtol=2e-6, atol=1e-6, err_msg=tensor)
    for settings in SETTINGS[1:]:
        assert_same_bits(first, run(value, settings=settings, layout=LAYOUT)[0], f"{settings}")
    backwards = range(len(LAYOUT))[::-1]
    assert_same_bits(first, run(value, settings=SETTINGS[1], order=backwards, layout=LAYOUT)[0], "backwards")


def test_inputs_are_unchanged():
    for vector, seed in ((a, 1), (b, 2), (c, 3)):
        from tests.engine.small import some_arrays

        assert_same_bits(vector.source.origin.arrays, some_arrays(seed), vector.source.name)


def test_the_comparison_can_fail():
    with pytest.raises(AssertionError):
        assert_same_bits(A, B, "different")
    zero = {"x": np.zeros(1, "f4")}
    with pytest.raises(AssertionError):
        assert_same_bits(zero, {"x": -zero["x"]}, "signs of zero")
    assert C["one"].dtype == np.float32
    assert Domain.ROW == 4
