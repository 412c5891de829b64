"""Ways to encode one tensor's numbers: what each would write, piece by piece, and the error that it makes.

Numbers come as a function that yields a tensor's pieces, each time from the first: some ways look more than once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from weightmath.delta.decoding import form_of, product
from weightmath.delta.description import Record
from weightmath.delta.encoders import ENCODERS
from weightmath.delta.largest import largest, threshold_for
from weightmath.delta.low_rank import factors
from weightmath.delta.numbers import encode
from weightmath.delta.options import Options
from weightmath.delta.pieces import in_order, pieces_of
from weightmath.dtypes import DTYPES, FLOAT32, DType
from weightmath.errors import NumericError
from weightmath.layout import Entry

Numbers = Callable[[], Iterable[np.ndarray]]

_LARGEST_MATRIX = 1 << 24  # elements; beyond it an automatic choice does not take the time for singular values
_ROUNDING = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-9}


class Measured(NamedTuple):
    """A piece: its bytes, and the squared lengths of its error and of its numbers."""

    content: bytes
    error: float
    norm: float


@dataclass(frozen=True)
class Attempt:
    """A way to encode a tensor: its record without sizes, and the pieces, made anew at each call."""

    record: Record
    pieces: Callable[[], Iterator[Measured]]

    def measured(self) -> tuple[int, float]:
        """Bytes of all pieces, and the relative error; nothing is kept."""
        size, error, norm = 0, 0.0, 0.0
        for piece in self.pieces():
            size, error, norm = size + len(piece.content), error + piece.error, norm + piece.norm
        return size, relative(error, norm)


def relative(error: float, norm: float) -> float:
    """The relative error that squared lengths stand for; of nothing it is 0."""
    return float(np.sqrt(error / norm)) if norm else 0.0


def best_attempt(entry: Entry, numbers: Numbers, options: Options, threads: int) -> Attempt:
    """The attempt that the options ask for; by `max_error` the smallest that meets it, dense ones included."""
    limit = options.max_error
    if limit is None:
        return _asked(entry, numbers, options, threads)
    found: list[tuple[int, int, Attempt]] = []
    for attempt in _candidates(entry, numbers, options, limit, threads):
        size, error = attempt.measured()
        if error <= limit:
            found.append((size, len(found), attempt))
    return min(found)[2]


def _candidates(entry: Entry, numbers: Numbers, options: Options, limit: float, threads: int) -> Iterator[Attempt]:
    kinds = ("sparse", "int8", "sign", "low-rank") if options.kind == "auto" else (options.kind,)
    stored = options.stored
    if "sparse" in kinds:
        budget = max(limit**2 - _ROUNDING[stored.name] ** 2, 0.0)
        yield sparse(entry, numbers, stored, threads, threshold=threshold_for(numbers, budget))
    if "int8" in kinds:
        yield piecewise(entry, "int8", numbers, FLOAT32, threads)
    if "sign" in kinds:
        yield sign(entry, numbers, threads)
    if "low-rank" in kinds and _is_matrix(entry) and (options.kind != "auto" or entry.size <= _LARGEST_MATRIX):
        yield low_rank(entry, numbers, stored, energy=max(1 - limit**2, 1e-12))
    yield piecewise(entry, "dense", numbers, stored, threads)
    if stored != DTYPES["bfloat16"]:
        yield piecewise(entry, "dense", numbers, DTYPES["bfloat16"], threads)
    if stored != FLOAT32:
        yield piecewise(entry, "dense", numbers, FLOAT32, threads)


def _asked(entry: Entry, numbers: Numbers, options: Options, threads: int) -> Attempt:
    """Vectors (biases, scales of normalisations) stay dense where matrices become signs or thin ones."""
    kind = options.kind
    if kind == "sparse":
        return sparse(
            entry, numbers, options.stored, threads, density=options.density, threshold=options.threshold or 0.0
        )
    if kind == "low-rank" and _is_matrix(entry):
        return low_rank(entry, numbers, options.stored, rank=options.rank, energy=options.energy)
    if kind == "sign" and _is_matrix(entry):
        return sign(entry, numbers, threads)
    return piecewise(entry, "int8" if kind == "int8" else "dense", numbers, options.stored, threads)


def _is_matrix(entry: Entry) -> bool:
    return len(entry.shape) > 1 and entry.rows > 1 and entry.row_size > 1


def piecewise(
    entry: Entry,
    encoder: str,
    numbers: Numbers,
    stored: DType,
    threads: int,
    *,
    kept: Numbers | None = None,
    scale: float | None = None,
) -> Attempt:
    """An attempt by an encoder that takes one piece at a time; `kept` are the numbers that it is given instead."""
    record = Record(entry, encoder, (), stored=stored, scale=scale)
    write, read = ENCODERS[encoder]
    form = form_of(record)

    def work(job: tuple[np.ndarray, np.ndarray]) -> Measured:
        wanted, values = job
        # A dense tensor is one that others can read, and has all of its elements.
        content = write(values, form) if encoder == "dense" or values.any() else b""
        made = read(content, len(values), form) if content else np.zeros_like(values)
        if not np.isfinite(made).all():
            raise NumericError(f"`{entry.name}` overflows in {stored}", hint="--dtype bfloat16 or float32")
        return Measured(content, _square(wanted - made), _square(wanted))

    def jobs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return zip(numbers(), kept(), strict=True) if kept else ((values, values) for values in numbers())

    return Attempt(record, lambda: in_order(work, jobs(), threads))


def sparse(
    entry: Entry,
    numbers: Numbers,
    stored: DType,
    threads: int,
    *,
    density: float | None = None,
    threshold: float = 0.0,
) -> Attempt:
    """The largest numbers: a share of all (rounded down, at least one), or those that reach a threshold."""

    def kept() -> Iterator[np.ndarray]:
        if density is None:
            yield from (np.where(np.abs(values) >= threshold, values, np.float32(0)) for values in numbers())
        else:
            # 0.29 means 29 of 100, which the nearest binary number is a little less than.
            share = int(Fraction(repr(density)) * entry.size)
            yield from largest(numbers, min(max(1, share), entry.size), threads)

    return piecewise(entry, "sparse", numbers, stored, threads, kept=kept)


def sign(entry: Entry, numbers: Numbers, threads: int) -> Attempt:
    """Signs, times the mean magnitude: the best single scale for them."""
    total = sum(float(np.abs(values).sum(dtype=np.float64)) for values in numbers())
    scale = float(np.float32(total / entry.size)) if entry.size else 0.0
    return piecewise(entry, "sign", numbers, FLOAT32, threads, scale=scale)


def low_rank(
    entry: Entry, numbers: Numbers, stored: DType, *, rank: int | None = None, energy: float | None = None
) -> Attempt:
    """Two thin matrices. Needs the whole matrix in memory, several times."""
    matrix = np.concatenate(list(numbers())).reshape(entry.rows, entry.row_size)
    found = factors(matrix, rank=rank, energy=energy)
    content = b"".join(encode(part.reshape(-1), stored).tobytes() for part in found)
    record = Record(entry, "low-rank", (), stored=stored, rank=found.tall.shape[1])

    def pieces() -> Iterator[Measured]:
        error = norm = 0.0
        for piece, values in zip(pieces_of(entry), numbers(), strict=True):
            error += _square(values - product(content, record, piece))
            norm += _square(values)
        yield Measured(content, error, norm)

    return Attempt(record, pieces)


def _square(values: np.ndarray) -> float:
    # Not a dot product: that of OpenBLAS has threads of its own, which spin where these ones are at work.
    return float(np.einsum("i,i->", values, values, dtype=np.float64))
