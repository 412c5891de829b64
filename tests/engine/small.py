"""Small data that take every path: tiles of 64 elements, gathering up to 512, and vectors full of ties."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest

from tests.engine.whole import Arrays, layout_of, memory_input
from weightmath.engine.execute import Settings

TILE = 64
GATHER_LIMIT = 512

SHAPES: dict[str, tuple[int, ...]] = {
    "blocks.0.conv": (4, 3, 2, 2),  # within one tile
    "blocks.0.w": (20, 10),  # tiles of whole rows
    "blocks.1.b": (),
    "blocks.1.bias": (10,),
    "blocks.1.w": (3, 150),  # rows longer than a tile
    "embed": (40, 30),  # beyond the gathering limit
    "empty": (0, 3),
    "head.0.w": (5, 7),
    "head.1.long": (2, 700),  # rows beyond the gathering limit
    "one": (1,),
    "vector": (300,),
}
SETTINGS = (Settings(1, TILE), Settings(2, 2 * TILE), Settings(3, 5 * TILE), Settings(2, 10_000))


def some_arrays(seed: int, dtype: str = "f4", shapes: dict[str, tuple[int, ...]] = SHAPES) -> dict[str, np.ndarray]:
    """Eighths between -2 and 2: many ties, zeros of both signs, and differences that are exact."""
    rng = np.random.default_rng(seed)
    made = {name: np.asarray(np.round(rng.standard_normal(shape) * 6) / 8, dtype) for name, shape in shapes.items()}
    for array in made.values():
        array[rng.random(array.shape) < 0.1] = -0.0
    return made


def set_limits(monkeypatch: pytest.MonkeyPatch, tile: int = TILE, gather: int = GATHER_LIMIT) -> None:
    """Shrink tiles and the gathering limit in all modules of the engine."""
    for name, module in list(sys.modules.items()):
        if name.startswith("weightmath."):
            for constant, value in (("TILE", tile), ("GATHER_LIMIT", gather)):
                if constant in vars(module):
                    monkeypatch.setattr(module, constant, value)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    set_limits(monkeypatch)
    return


A, B, C = some_arrays(1), some_arrays(2), some_arrays(3)
a, b, c = memory_input("a", A), memory_input("b", B), memory_input("c", C)
LAYOUT = layout_of(A)


def assert_same_bits(left: Arrays, right: Arrays, what: str) -> None:
    assert set(left) == set(right), what
    for name in left:
        assert left[name].dtype == right[name].dtype, (what, name)
        assert left[name].tobytes() == right[name].tobytes(), (what, name)
