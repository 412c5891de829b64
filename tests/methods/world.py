"""Small checkpoints full of hard cases, and formulas on flat vectors applied cell by cell."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.whole import memory_input, run
from weightmath.algebra.graph import Vector
from weightmath.kernels import random
from weightmath.methods import load

METHODS = {name: declared.call for name, declared in load().items()}
SCOPES = ("row", "tensor", "layer", "global")
SHAPES: dict[str, tuple[int, ...]] = {
    "blocks.0.conv": (3, 2, 2, 2),
    "blocks.0.w": (4, 6),
    "blocks.1.b": (),
    "blocks.1.w": (5, 3),
    "empty": (0, 3),
    "norm": (150,),
    "one": (1,),
}
Arrays = dict[str, np.ndarray]
Formula = Callable[..., Any]
# What one tensor looks like, in a base and in a model of it.
STYLES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "tied": lambda rng, shape: np.round(rng.standard_normal(shape) * 3) / 8,
    "constant": lambda rng, shape: np.full(shape, 0.25 * rng.integers(-2, 3)),
    "zero": lambda rng, shape: np.zeros(shape),
    "huge range": lambda rng, shape: rng.standard_normal(shape) * 10.0 ** rng.integers(-6, 7, shape),
}


@dataclass(frozen=True)
class World:
    """A base and models of it, as arrays and as lazy vectors."""

    arrays: tuple[Arrays, ...]

    @property
    def vectors(self) -> list[Vector]:
        """The base first."""
        return [memory_input(f"m{i}", arrays) for i, arrays in enumerate(self.arrays)]

    def check(self, value: Vector, expected: Arrays, rtol: float = 1e-9) -> None:
        """The value, computed, is what is expected, to a share of the largest number of its tensor."""
        got, _ = run(value)
        assert set(got) == set(expected)
        for name, array in expected.items():
            size = max(np.abs(np.stack([arrays[name] for arrays in self.arrays])).max(initial=0), 1e-300)
            np.testing.assert_allclose(got[name], array, rtol=rtol, atol=rtol * size, err_msg=name)

    def per_cell(self, scope: str, formula: Formula, *others: Arrays) -> Arrays:
        """A formula on flat vectors (base, models.., others..) applied to each cell of a scope."""
        return per_cell(scope, formula, *self.arrays, *others)

    def each(self, formula: Formula, *others: Arrays) -> Arrays:
        """A formula that works element by element."""
        vectors = (*self.arrays, *others)
        return {name: np.asarray(formula(*(v[name] for v in vectors))) for name in SHAPES}


def world(seed: int, styles: dict[str, str], moves: dict[str, str], models: int) -> World:
    """A base of one style per tensor, and models that move from it in others."""
    rng = np.random.default_rng(seed)
    base = {name: np.asarray(STYLES[styles[name]](rng, shape)) for name, shape in SHAPES.items()}
    made = [
        {name: np.asarray(base[name] + STYLES[moves[name]](rng, shape)) for name, shape in SHAPES.items()}
        for _ in range(models)
    ]
    return World((base, *made))


@st.composite
def worlds(draw: st.DrawFn, models: int = 2) -> World:
    """Worlds for hypothesis."""
    styles, moves = ({name: draw(st.sampled_from(list(STYLES))) for name in SHAPES} for _ in range(2))
    return world(draw(st.integers(0, 2**32 - 1)), styles, moves, models)


def for_worlds(models: int = 2, examples: int = 15) -> Callable[[Callable[[World], None]], Callable[[], None]]:
    """Run a test on drawn worlds."""

    def decorate(test: Callable[[World], None]) -> Callable[[], None]:
        return settings(max_examples=examples, deadline=None, derandomize=True)(given(world=worlds(models))(test))

    return decorate


def cell_of(scope: str, name: str) -> str:
    """The cell of a tensor, for scopes above rows."""
    if scope == "layer":
        found = re.match(r"(.*?\d+)(?!\d)", name)
        return found.group(1) if found else name
    return name if scope == "tensor" else ""


def per_cell(scope: str, formula: Formula, *vectors: Arrays) -> Arrays:
    """A formula on flat vectors applied to each cell of a scope; it gives a flat vector."""
    places: dict[Any, list[tuple[str, Any]]] = {}
    for name in sorted(SHAPES):
        if scope == "row":
            rows = range(SHAPES[name][0]) if len(SHAPES[name]) > 1 else [...]
            places |= {(name, str(row)): [(name, row)] for row in rows}
        else:
            places.setdefault(cell_of(scope, name), []).append((name, ...))
    result = {name: np.empty(shape) for name, shape in SHAPES.items()}
    for cell in places.values():
        flat = [np.concatenate([vector[name][at].reshape(-1) for name, at in cell]) for vector in vectors]
        with np.errstate(all="ignore"):
            value = np.asarray(formula(*flat)) if flat[0].size else flat[0]
        for name, at in cell:
            shape = result[name][at].shape
            count = int(np.prod(shape))
            result[name][at] = value[:count].reshape(shape)
            value = value[count:]
    return result


def words(seed: int, label: str) -> Arrays:
    """The uniform numbers in 0..1 that a mask of this seed and label compares with its probability."""
    made = {}
    for name, shape in SHAPES.items():
        stream = random.key(seed, "bernoulli", label, name)
        made[name] = (random.words(stream, 0, int(np.prod(shape))) / 2.0**32).reshape(shape)
    return made


def top(x: np.ndarray, density: float, least: int = 1) -> np.ndarray:
    """The mask of the floor(density n) largest magnitudes, `least` at the least; of equals the first come first."""
    count = max(int(np.floor(round(density * x.size, 9))), least if density > 0 else 0)
    mask = np.zeros(x.size, bool)
    mask[np.argsort(-np.abs(x), kind="stable")[:count]] = True
    return mask


def total(vectors: Sequence[np.ndarray]) -> np.ndarray:
    """The sum of a list in its order: sums that are 0 in one order need not be in another."""
    result = vectors[0] * 1.0
    for vector in vectors[1:]:
        result = result + vector
    return result
