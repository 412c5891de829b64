"""Values of `show` and `expect`, against plain numpy on whole arrays."""

from __future__ import annotations

import numpy as np
import pytest

from tests.engine.whole import memory_input, run
from weightmath import functions as f
from weightmath.engine.execute import Settings

SHAPES = {"a.0.w": (30, 40), "a.0.b": (40,), "long": (3, 70_000), "scalar": (), "empty": (0, 3)}


@pytest.mark.parametrize("threads", [1, 2])
def test_statistics_of_rows_have_a_number_per_row(threads: int) -> None:
    rng = np.random.default_rng(5)
    arrays = {name: rng.standard_normal(shape).astype("f4") for name, shape in SHAPES.items()}
    x = memory_input("x", arrays)
    _, results = run(x, [f.norm(x, scope="row") * 2], settings=Settings(threads=threads))
    ((_, shown),) = results.watched
    for name, array in arrays.items():
        rows = (array if array.ndim > 1 else array.reshape(1, -1)).astype("f8")
        assert shown[name].shape == (len(rows),)
        np.testing.assert_allclose(shown[name], 2 * np.linalg.norm(rows, axis=1), rtol=1e-12)


@pytest.mark.parametrize("scope", ["global", "layer", "tensor"])
def test_what_a_value_shares_with_itself_is_looked_at_once(scope: str) -> None:
    """Each doubling would double the work, and a recipe may have thousands."""
    x = memory_input("x", {"a.0.w": np.full((2, 2), 3, "f4")})
    value = f.norm(x, scope=scope)
    for _ in range(100):
        value = value + value
    _, results = run(x, [value])
    ((_, shown),) = results.watched
    assert list(shown.values() if isinstance(shown, dict) else [shown]) == [6 * 2.0**100]


def test_comparisons_are_truth_values() -> None:
    arrays = {"a.w": np.array([[3, 4], [0, 1]], "f4"), "b": np.array([2.0], "f4")}
    x = memory_input("x", arrays)
    values = [f.norm(x) > 5, f.norm(x, scope="tensor") > 3, f.norm(x, scope="row") > 1, ~(f.norm(x) > 5)]
    _, results = run(x, values)
    whole, tensors, rows, opposite = (shown for _, shown in results.watched)
    assert (whole, opposite, tensors) == (True, False, {"a.w": True, "b": False})
    assert isinstance(whole, bool)
    assert {name: shown.tolist() for name, shown in rows.items()} == {"a.w": [True, False], "b": [True]}
