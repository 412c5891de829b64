"""The real limits, once: a tensor beyond what is gathered, rows beyond a tile, and millions of ties."""

from __future__ import annotations

import numpy as np
import pytest

from tests.engine.small import assert_same_bits, some_arrays
from tests.engine.whole import layout_of, memory_input, run, whole
from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.engine.execute import Settings
from weightmath.engine.plan import GATHER_LIMIT
from weightmath.scope import TILE

SHAPES = {"0.large": (1500, 1600), "1.long": (3, 70_000), "1.bias": (1600,), "2.one": ()}
A, B = (some_arrays(seed, shapes=SHAPES) for seed in (1, 2))
a, b = memory_input("a", A), memory_input("b", B)
d = b - a


@pytest.mark.parametrize(
    "value",
    [
        a + f.keep_largest(d, 0.2, scope="tensor"),
        a + f.keep_largest(d, 0.2) * f.norm(d, scope="layer") / 1000,
        a + f.keep_smallest(d, 0.9, scope="row") + f.quantile(d, 0.7) * f.std(d, scope="row"),
    ],
    ids=str,
)
def test_real_size(value: Vector):
    assert a.source.layout["0.large"].size > GATHER_LIMIT
    assert a.source.layout["1.long"].row_size > TILE
    first, _ = run(value, settings=Settings(2, 2 * TILE))
    assert_same_bits(first, run(value, settings=Settings(3, 16 * TILE))[0], "another chunk")
    for name, array in whole(value, layout_of(A)).items():
        np.testing.assert_allclose(first[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
