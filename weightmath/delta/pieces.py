"""How tensors are cut into pieces that are encoded by themselves, and how threads share the pieces."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from weightmath.layout import Entry

PIECE = 1 << 20  # elements

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Piece:
    """Elements [start, stop) of a tensor: piece number `number` of it."""

    number: int
    start: int
    stop: int

    @property
    def count(self) -> int:
        """Number of elements."""
        return self.stop - self.start


def step_of(entry: Entry) -> int:
    """Elements of a piece: as many whole rows as fit, or a part of a row that is longer."""
    return PIECE // entry.row_size * entry.row_size if 0 < entry.row_size <= PIECE else PIECE


def piece_count(entry: Entry) -> int:
    """How many pieces a tensor has."""
    return -(-entry.size // step_of(entry))


def pieces_of(entry: Entry) -> list[Piece]:
    """The pieces of a tensor, in flat order; none of an empty one."""
    step = step_of(entry)
    starts = range(0, entry.size, step)
    return [Piece(number, start, min(start + step, entry.size)) for number, start in enumerate(starts)]


def touched(entry: Entry, start: int, stop: int) -> Iterator[tuple[Piece, slice]]:
    """The pieces that hold elements [start, stop) of a tensor, each with those of its own that are meant."""
    step = step_of(entry)
    for piece in pieces_of(entry)[start // step : -(-stop // step)]:
        yield piece, slice(max(start - piece.start, 0), max(min(stop, piece.stop) - piece.start, 0))


def in_order(work: Callable[[A], B], items: Iterable[A], threads: int) -> Iterator[B]:
    """The results of `work` in the order of the items, which a few threads are ahead of: never more than 2 each."""
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[B]] = deque()
        try:
            for item in items:
                ahead.append(pool.submit(work, item))
                if len(ahead) > 2 * threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()
