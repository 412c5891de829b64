"""Permutation specs: which axis of which tensor moves with which permutation.

An axis of `parts` x `size` x n elements is moved in blocks of n, within each part alike: rows of a linear layer are
blocks of one; the heads of fused queries, keys and values are 3 parts of so many blocks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from weightmath.errors import LayoutError
from weightmath.layout import Layout

Orders = Mapping[str, np.ndarray]  # by permutation: which of the old units comes first, second, ..


@dataclass(frozen=True)
class Move:
    """One axis of one tensor, moved in blocks; `parts` follow each other on it, and each is moved alike."""

    tensor: str
    axis: int
    parts: int = 1


@dataclass(frozen=True)
class Permutation:
    """The units that change places together: their number, and all axes on which they lie."""

    name: str
    size: int
    moves: tuple[Move, ...]


@dataclass(frozen=True)
class Spec:
    """The permutations of a model.

    left_out   permutations that a spec has and that do not apply, and why
    """

    permutations: tuple[Permutation, ...]
    left_out: tuple[tuple[str, str], ...] = ()

    @cached_property
    def by_name(self) -> dict[str, Permutation]:
        """Each permutation by its name."""
        return {one.name: one for one in self.permutations}

    @cached_property
    def of_tensor(self) -> dict[str, tuple[tuple[Permutation, Move], ...]]:
        """For each tensor that moves, its permutations and moves."""
        found: defaultdict[str, list[tuple[Permutation, Move]]] = defaultdict(list)
        for permutation in self.permutations:
            for move in permutation.moves:
                found[move.tensor].append((permutation, move))
        return {name: tuple(moves) for name, moves in found.items()}

    def identity(self) -> dict[str, np.ndarray]:
        """The orders that move nothing."""
        return {one.name: np.arange(one.size) for one in self.permutations}


def permuted(array: np.ndarray, name: str, spec: Spec, orders: Orders, *, without: Move | None = None) -> np.ndarray:
    """The tensor of that name with its axes moved: unit i of the result is unit orders[permutation][i] of `array`.

    Whatever the dtype, elements are only moved. `without`: an axis that stays.
    """
    for permutation, move in spec.of_tensor.get(name, ()):
        if move != without:
            order = positions(orders[permutation.name], array.shape[move.axis], move.parts)
            array = np.take(array, order, axis=move.axis)
    return array


def positions(order: np.ndarray, length: int, parts: int = 1) -> np.ndarray:
    """The order of the elements of an axis, from that of its units."""
    size = len(order)
    inner = length // (parts * size)
    places = np.arange(length).reshape(parts, size, inner)
    return places[:, order].reshape(-1)


def units(array: np.ndarray, move: Move, size: int) -> np.ndarray:
    """The tensor as a matrix (size, all others): a row for each unit on this axis."""
    cut = np.moveaxis(array, move.axis, 0)
    inner = len(cut) // (move.parts * size)
    cut = cut.reshape(move.parts, size, inner, -1)
    return np.moveaxis(cut, 1, 0).reshape(size, -1)


def check(spec: Spec, layout: Layout) -> None:
    """LayoutError for a spec that does not fit a model, or that would change its function as far as shapes can tell.

    Each axis must hold its permutation's units without a rest and move with one permutation only; a permutation must
    have two axes at least, as units that are made are used. A bias or norm of a layer whose outputs move must move with
    them: a one-dimensional tensor beside a moved one, of the length of the moved axis and of no other.
    """
    taken: dict[tuple[str, int], str] = {}
    for permutation in spec.permutations:
        if len({(move.tensor, move.axis) for move in permutation.moves}) < 2:
            raise _wrong(
                permutation, "moves one axis alone", "name the layer that makes the units and those that use them"
            )
        for move in permutation.moves:
            _check_move(permutation, move, layout)
            other = taken.setdefault((move.tensor, move.axis), permutation.name)
            if other != permutation.name:
                fact = f"moves axis {move.axis} of `{move.tensor}`, which moves with `{other}`"
                raise _wrong(permutation, fact, "one axis has one permutation")
        _check_beside(permutation, layout)


def _check_move(permutation: Permutation, move: Move, layout: Layout) -> None:
    if move.tensor not in layout:
        raise _wrong(permutation, f"moves `{move.tensor}`, which is no floating-point tensor of the model", None)
    shape = layout[move.tensor].shape
    if move.axis >= len(shape):
        raise _wrong(permutation, f"moves axis {move.axis} of `{move.tensor}`, which has shape {shape}", None)
    if shape[move.axis] % (move.parts * permutation.size):
        what = f"{permutation.size} units" + (f" in {move.parts} parts" if move.parts > 1 else "")
        fact = (
            f"has {what}, which {shape[move.axis]} elements on axis {move.axis} of `{move.tensor}` do not divide into"
        )
        raise _wrong(permutation, fact, "a plain axis has as many units as elements; `1 in 512 blocks` says how many")


def _check_beside(permutation: Permutation, layout: Layout) -> None:
    moved = {move.tensor for move in permutation.moves}
    for move in permutation.moves:
        shape = layout[move.tensor].shape
        if len(shape) < 2 or shape.count(shape[move.axis]) > 1:
            continue
        for name in beside(move.tensor, layout):
            if layout[name].shape == (shape[move.axis],) and name not in moved:
                fact = f"moves axis {move.axis} of `{move.tensor}` but not `{name}`, which has a number for each place"
                raise _wrong(permutation, fact, f"add to it: {name}: 0")


def beside(name: str, layout: Layout) -> Iterable[str]:
    """Names of the other tensors of a tensor's module."""
    module = name.rpartition(".")[0]
    return (other for other in layout.names if other != name and other.rpartition(".")[0] == module)


def _wrong(permutation: Permutation, fact: str, hint: str | None) -> LayoutError:
    return LayoutError(f"permutation `{permutation.name}` {fact}", hint=hint)
