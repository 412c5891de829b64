"""Two checkpoints compared: which tensors are equal bit for bit, and how far the others are apart.

Norms and dot products are statistics of the engine, in float64 and in its fixed order; bits are compared in pieces
beside it. Neither holds more than a few chunks in memory.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from weightmath import functions as f
from weightmath.checkpoint import Reader, TensorInfo
from weightmath.engine.crew import Crew
from weightmath.engine.execute import execute
from weightmath.engine.memory import settings_for, threads_of
from weightmath.engine.meter import Meter, Told, silent
from weightmath.engine.plan import Request, Watched, make_plan
from weightmath.errors import LayoutError
from weightmath.files.inputs import Opened, open_input, reading, sources_of, vector_of
from weightmath.files.mismatch import matching_rule
from weightmath.kernels.scratch import borrow
from weightmath.layout import Layout

_PIECE = 1 << 20  # elements


@dataclass(frozen=True)
class Distance:
    """Sums over elements of two tensors a and b, of a a, b b, a b, and d d with d = b - a; they add up over tensors."""

    aa: float = 0.0
    bb: float = 0.0
    ab: float = 0.0
    dd: float = 0.0

    def __add__(self, other: Distance) -> Distance:
        return Distance(self.aa + other.aa, self.bb + other.bb, self.ab + other.ab, self.dd + other.dd)

    @property
    def relative_change(self) -> float | None:
        """norm(b - a) / norm(a); None where a is zero and b is not."""
        if self.aa == 0:
            return 0.0 if self.dd == 0 else None
        return math.sqrt(self.dd / self.aa)

    @property
    def cosine(self) -> float | None:
        """The cosine between a and b; None where one of them is zero."""
        lengths = math.sqrt(self.aa) * math.sqrt(self.bb)
        return None if lengths == 0 else float(np.clip(self.ab / lengths, -1.0, 1.0))


@dataclass(frozen=True)
class Pair:
    """A tensor that both checkpoints have in one shape.

    different  number of elements whose bits differ; of tensors of two dtypes, whose values differ
    distance   None for tensors that are not floating point in both
    largest    largest absolute difference of two elements, likewise
    """

    name: str
    first: TensorInfo
    second: TensorInfo
    different: int
    distance: Distance | None
    largest: float | None

    @property
    def equal(self) -> bool:
        """Whether it is equal bit for bit."""
        return self.different == 0 and self.first.entry.dtype == self.second.entry.dtype


@dataclass(frozen=True)
class Comparison:
    """Two sections compared, in the order of names.

    reshaped   names of tensors that both have in different shapes, which are not compared
    """

    first: Opened
    second: Opened
    pairs: tuple[Pair, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    reshaped: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether both hold the same tensors, bit for bit."""
        apart = self.only_first or self.only_second or self.reshaped
        return not apart and all(pair.equal for pair in self.pairs)


def compare(first: Path, second: Path, section: str | None = None, progress: Told = silent) -> Comparison:
    """Compare the tensors of two checkpoints; `section` names the section of both, else each one's own is found.

    Fails with CheckpointError where a file is no checkpoint, lacks the section, or changes meanwhile.
    """
    a, b = open_input("first", first, section=section), open_input("second", second, section=section)
    common = [name for name in sorted(a.tensors) if name in b.tensors]
    if not common:
        raise _nothing_in_common(a, b)
    same = [name for name in common if a.tensors[name].entry.shape == b.tensors[name].entry.shape]
    return Comparison(
        a,
        b,
        _pairs(a, b, same, progress),
        only_first=tuple(name for name in sorted(a.tensors) if name not in b.tensors),
        only_second=tuple(name for name in sorted(b.tensors) if name not in a.tensors),
        reshaped=tuple(name for name in common if name not in set(same)),
    )


def _nothing_in_common(a: Opened, b: Opened) -> LayoutError:
    """Names that only differ by a prefix are the usual reason."""
    rule, matched = matching_rule(list(a.tensors), list(b.tensors))
    hint = f"as an input of a recipe, with {rule}, it would have {matched:,} of them" if matched else None
    return LayoutError(f"has no tensor of {a.checkpoint.path}, by name", where=str(b.checkpoint.path), hint=hint)


@dataclass(frozen=True)
class _Piece:
    """A stretch of one tensor whose bits are compared."""

    name: str
    start: int
    stop: int
    stage = "bits"
    after = None


def _pairs(a: Opened, b: Opened, names: Sequence[str], progress: Told) -> tuple[Pair, ...]:
    alike = [name for name in names if a.tensors[name].entry.dtype == b.tensors[name].entry.dtype]
    floats = [name for name in names if name in a.layout and name in b.layout]
    sizes = [one.tensors[name].entry.nbytes for group in (alike, floats) for name in group for one in (a, b)]
    meter = Meter(sum(sizes), progress)
    with reading([a.checkpoint, b.checkpoint]) as readers:
        different = _different_bits(a, b, alike, readers, meter)
        distances = _distances(a, b, floats, readers, meter)
    return tuple(
        _pair(name, a.tensors[name], b.tensors[name], different.get(name), distances.get(name)) for name in names
    )


def _pair(name: str, first: TensorInfo, second: TensorInfo, bits: int | None, measured: _Measured | None) -> Pair:
    if measured is None:
        # Of an integer tensor against a float one, say, no element counts as equal.
        return Pair(name, first, second, first.entry.size if bits is None else bits, None, None)
    different = measured.unequal if bits is None else bits
    return Pair(name, first, second, different, measured.distance, measured.largest)


def _different_bits(
    a: Opened, b: Opened, names: Sequence[str], readers: Mapping[Path, Reader], tick: Callable[[int], None]
) -> Counter[str]:
    """For each tensor the number of elements whose bits differ."""
    different = Counter(dict.fromkeys(names, 0))
    lock = threading.Lock()

    def work(piece: _Piece) -> None:
        here = _bits("first", a, readers, piece)
        there = _bits("second", b, readers, piece)
        count = int(np.count_nonzero(here != there))
        with lock:
            different[piece.name] += count
        tick(here.nbytes + there.nbytes)

    Crew([("bits", list(_pieces(a, names)))], work).run(threads_of(None))
    return different


def _pieces(opened: Opened, names: Sequence[str]) -> Iterator[_Piece]:
    for name in names:
        size = opened.tensors[name].entry.size
        for start in range(0, size, _PIECE):
            yield _Piece(name, start, min(start + _PIECE, size))


def _bits(slot: str, opened: Opened, readers: Mapping[Path, Reader], piece: _Piece) -> np.ndarray:
    """The bits of a piece as bytes or whole numbers, which compare equal where all bits do."""
    info = opened.tensors[piece.name]
    bits = borrow(f"diff.{slot}", (piece.stop - piece.start,), info.entry.dtype.bits)
    readers[opened.checkpoint.path].read(info, piece.start, piece.stop, bits)
    width = info.entry.dtype.itemsize
    return bits.view(f"u{width}") if width <= 8 else bits.view("V16")


@dataclass(frozen=True)
class _Measured:
    """What the engine measures of one tensor."""

    distance: Distance
    largest: float
    unequal: int


def _distances(
    a: Opened, b: Opened, names: Sequence[str], readers: Mapping[Path, Reader], tick: Callable[[int], None]
) -> dict[str, _Measured]:
    """What tells two floating-point tensors apart, by name."""
    if not names:
        return {}
    x, y = vector_of(a, names), vector_of(b, names)
    questions = (
        f.dot(x, x, scope="tensor"),
        f.dot(y, y, scope="tensor"),
        f.dot(x, y, scope="tensor"),
        f.dot(y - x, y - x, scope="tensor"),
        f.max(f.abs(y - x), scope="tensor"),
        f.count(y != x, scope="tensor"),
    )
    layout = Layout.of(a.layout[name] for name in names)
    order = tuple(layout.index[name] for name in a.tensors if name in layout)
    plan = make_plan(Request(layout, (), tuple(Watched(str(one), one) for one in questions), order))
    results = execute(plan, sources_of((x, y), readers), {}, settings_for(plan, None, None), tick)
    columns = [value for _, value in results.watched]
    return {
        name: _Measured(Distance(*(column[name] for column in columns[:4])), columns[4][name], int(columns[5][name]))
        for name in names
    }
