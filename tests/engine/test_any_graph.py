"""Any graph at all: random expressions through the engine, against whole arrays and against other chunks and orders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.small import LAYOUT, SETTINGS, SHAPES, a, assert_same_bits, b, c, set_limits, some_arrays
from tests.engine.whole import memory_input, run, whole
from weightmath import functions as f
from weightmath.algebra.graph import Vector, topological
from weightmath.algebra.names import Table

WIDE = {name: array.astype("f8" if i % 3 == 0 else "f4") for i, (name, array) in enumerate(some_arrays(4).items())}
PART = {name: array for name, array in some_arrays(5).items() if name.startswith(("blocks.1", "embed", "one"))}
wide = memory_input("wide", WIDE)
part = memory_input("part", PART, kind="delta")

scopes = st.sampled_from(["row", "tensor", "layer", "global", r"re:(blocks|head)"])
numbers = st.sampled_from([0.0, 1.0, -1.0, 0.5, 0.1, 3.0])
densities = st.sampled_from([0.0, 0.01, 0.3, 0.5, 1.0]) | st.just(Table((("blocks*", 0.5), ("*", 0.5))))
tables = st.sampled_from([Table((("blocks*", 0.0), ("*", 1.0))), Table((("*.w", 0.5), ("*", 2.0)))])
patterns = st.sampled_from(["blocks*", "*.w", "re:head|one", "*"])

vectors: st.SearchStrategy[Vector] = st.deferred(lambda: leaves | arithmetic | called | selected)
statistics: st.SearchStrategy[Vector] = st.deferred(lambda: reduced | folded)
masks: st.SearchStrategy[Vector] = st.deferred(lambda: compared | named | joined)

leaves = st.sampled_from([a, b, c, b - a, wide, part])
ARITHMETIC = [Vector.__add__, Vector.__sub__, Vector.__mul__, Vector.__rsub__]
COMPARE = [Vector.__lt__, Vector.__gt__, Vector.__le__, Vector.__ge__, Vector.__eq__, Vector.__ne__]
arithmetic = st.builds(
    lambda op, x, y: op(x, y), st.sampled_from(ARITHMETIC), vectors, vectors | numbers | tables | statistics
)
called = (
    st.builds(lambda x, op: op(x), vectors, st.sampled_from([f.abs, f.sign, Vector.__neg__, f.round, f.tanh]))
    | st.builds(f.minimum, vectors, vectors | numbers | statistics)
    | st.builds(f.where, masks, vectors, vectors | numbers)
    | st.builds(lambda x, y: f.median([x, y, a]), vectors, vectors)
    | st.builds(f.only, vectors, patterns)
    | st.builds(f.overlay, vectors, vectors)
    | st.builds(lambda x: x / 2, vectors)
    | st.builds(lambda x, y: x * y, vectors, masks)
    | st.builds(lambda s: f.rademacher(seed=s), st.integers(0, 3))
)
selected = st.builds(
    lambda op, x, d, s: op(x, d, scope=s),
    st.sampled_from([f.keep_largest, f.keep_smallest]),
    vectors,
    densities,
    scopes,
)
reduced = (
    st.builds(
        lambda op, x, s: op(x, scope=s),
        st.sampled_from([f.norm, f.mean, f.max, f.min, f.count, f.density, f.median]),
        vectors | masks,
        scopes,
    )
    | st.builds(lambda x, y, s: f.dot(x, y, scope=s), vectors, vectors, scopes)
    | st.builds(lambda x, s: f.quantile(x, 0.3, scope=s), vectors, scopes)
)
folded = st.builds(lambda op, x, y: op(x, y), st.sampled_from(ARITHMETIC), statistics, statistics | numbers)
compared = st.builds(lambda op, x, y: op(x, y), st.sampled_from(COMPARE), vectors, vectors | numbers | statistics)
named = st.builds(f.match, patterns) | st.builds(f.bernoulli, st.sampled_from([0.2, 0.7]), seed=st.integers(0, 3))
joined = st.builds(lambda x, y: x & y, masks, masks) | st.builds(lambda x: ~x, masks)


def is_exact(value: Vector) -> bool:
    """Whether float32 rounding cannot turn a comparison or an order of magnitudes around: they are of plain inputs."""
    turning = ("cut", "quantile", "sign", "round", "count", "density", "less", "greater", "at_most", "at_least")
    turning = (*turning, "equal", "unequal", "max", "min")
    exact = ("input", "declared", "subtract", "add", "constant", "negative", "absolute", "only", "overlay", "by_name")
    return all(
        below.op in exact for node in topological([value]) if node.op in turning for below in topological(node.args)
    )


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(vectors, st.permutations(range(len(LAYOUT))))
def test_any_graph(value, order):
    with pytest.MonkeyPatch.context() as patch:
        set_limits(patch)
        first, _ = run(value, settings=SETTINGS[0], layout=LAYOUT)
        for chosen in SETTINGS[1:3]:
            assert_same_bits(first, run(value, settings=chosen, layout=LAYOUT)[0], f"{chosen}")
        assert_same_bits(first, run(value, settings=SETTINGS[1], order=order, layout=LAYOUT)[0], f"{order}")
    if is_exact(value):
        expected = whole(value, LAYOUT)
        assert set(first) <= set(expected) <= set(SHAPES)
        for name in first:
            scale = max(1.0, np.abs(expected[name]).max(initial=0))
            np.testing.assert_allclose(first[name], expected[name], rtol=1e-4, atol=1e-5 * scale, err_msg=name)
