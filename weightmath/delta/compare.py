"""Compares two deltas of one base: how long they are, how alike, and whether they touch the same elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields

import numpy as np

from weightmath.checkpoint import Section
from weightmath.delta.apply import sources_of
from weightmath.delta.container import DeltaFile
from weightmath.delta.decoding import DeltaReader
from weightmath.delta.exact import BASE, Link, Stack
from weightmath.delta.numbers import decode
from weightmath.delta.pieces import Piece, in_order, pieces_of
from weightmath.errors import LayoutError


@dataclass(frozen=True)
class Alike:
    """Sums over elements of two deltas a and b; they add up over tensors.

    aa, bb, ab          of a a, b b, a b, in float64
    only_a, only_b      elements where one of them is not 0
    both, agree         where both are not 0, and where they have one sign
    """

    aa: float = 0.0
    bb: float = 0.0
    ab: float = 0.0
    only_a: int = 0
    only_b: int = 0
    both: int = 0
    agree: int = 0

    def __add__(self, other: Alike) -> Alike:
        return Alike(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    @property
    def norms(self) -> tuple[float, float]:
        """The lengths of both."""
        return math.sqrt(self.aa), math.sqrt(self.bb)

    @property
    def cosine(self) -> float:
        """Of the angle between them; 0 if one of them is zero."""
        length = math.sqrt(self.aa) * math.sqrt(self.bb)
        return max(-1.0, min(1.0, self.ab / length)) if length else 0.0

    @property
    def sign_agreement(self) -> float:
        """Share of the elements that both change that have one sign; 0 without any."""
        return self.agree / self.both if self.both else 0.0

    @property
    def overlap(self) -> float:
        """Elements that both change, as a share of those that either does; 0 without any."""
        either = self.both + self.only_a + self.only_b
        return self.both / either if either else 0.0


def compare(
    base: Section, first: DeltaFile, second: DeltaFile, *, any_base: bool = False, threads: int = 2
) -> dict[str, Alike]:
    """Compare two deltas of a base, exact ones too, by tensor. Floats alone count; what neither has is left out.

    Fails with LayoutError if one belongs to another base or has a tensor in another shape.
    """
    for file in (first, second):
        sources_of(base, [file], any_base=any_base, threads=threads)
    with ExitStack() as stack:
        reader = stack.enter_context(base.checkpoint.open())
        opened = [stack.enter_context(DeltaReader(file)) for file in (first, second)]
        both = Stack(base, reader, [Link(one, 1.0, BASE) for one in opened])
        names = [name for name in base.tensors if base.tensors[name].entry.dtype.is_float]
        names = [name for name in names if any(both.record(number, name) is not None for number in (0, 1))]
        _check_shapes(base, both, names)
        jobs = [(name, piece) for name in names for piece in pieces_of(base.tensors[name].entry)]

        def work(job: tuple[str, Piece]) -> tuple[str, Alike]:
            name, piece = job
            return name, _alike([_values(both, number, name, piece) for number in (0, 1)])

        tensors = dict.fromkeys(names, Alike())
        for name, found in in_order(work, jobs, threads):
            tensors[name] += found
    return tensors


def _check_shapes(base: Section, stack: Stack, names: Sequence[str]) -> None:
    for number, link in enumerate(stack.links):
        for name in names:
            record = stack.record(number, name)
            if record is not None and record.entry.size > base.tensors[name].entry.size:
                raise LayoutError(f"`{name}` is larger than the base's", where=str(link.reader.file.path))


def _values(stack: Stack, number: int, name: str, piece: Piece) -> np.ndarray:
    """A delta's numbers, as float64; 0 where it has none."""
    record = stack.record(number, name)
    found = np.zeros(piece.count, np.float64)
    last = min(piece.stop, record.entry.size) if record else piece.start
    if record is None or last <= piece.start:
        return found
    if record.is_exact:
        new = decode(stack.bits(number, name, piece.start, last), record.entry.dtype)
        old = decode(stack.bits(BASE, name, piece.start, last), stack.dtype(BASE, name))
        found[: last - piece.start] = new.astype(np.float64) - old
    else:
        found[: last - piece.start] = stack.links[number].reader.values(record.entry.name, piece.start, last)
    return found


def _alike(pair: Sequence[np.ndarray]) -> Alike:
    a, b = pair
    in_a, in_b = a != 0, b != 0
    both = in_a & in_b
    agree = int(np.count_nonzero(both & ((a > 0) == (b > 0))))
    only_a, only_b, shared = (int(np.count_nonzero(mask)) for mask in (in_a & ~in_b, in_b & ~in_a, both))
    # Not by `@`: the threads of OpenBLAS spin where others are at work.
    squares_a, squares_b, dot = (float(np.einsum("i,i->", *two)) for two in ((a, a), (b, b), (a, b)))
    return Alike(squares_a, squares_b, dot, only_a, only_b, shared, agree)
