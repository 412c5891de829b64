"""What a value varies with, and what a reduction runs over.

A *domain* orders values by how finely they vary: a number of the recipe is CONSTANT, a norm of the whole model
GLOBAL, a norm per tensor TENSOR, a weight ELEMENT. An operation's result has the finest domain of its operands.

A *scope* (`row`, `tensor`, `layer`, `global`, `re:...`) cuts a layout into cells. A *tile* is the unit in which
reductions and selections are computed: as many whole rows of one tensor as fit in 65,536 elements, or a piece of
one row that is longer. Results are folded tile by tile in flat order, so no choice of chunk, thread or memory
budget can change a bit of them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from weightmath.errors import RecipeError, nearest
from weightmath.layout import Entry, Layout
from weightmath.regular import regular

TILE = 65_536


class Domain(IntEnum):
    """How finely a value varies, from one number for all to one per element."""

    CONSTANT = 0
    GLOBAL = 1
    GROUP = 2
    TENSOR = 3
    ROW = 4
    ELEMENT = 5


DOMAINS = {"row": Domain.ROW, "tensor": Domain.TENSOR, "layer": Domain.GROUP, "global": Domain.GLOBAL}
_FIRST_NUMBER = re.compile(r"(.*?\d+)(?!\d)")


@dataclass(frozen=True)
class Scope:
    """What a reduction runs over, by its name in recipes."""

    name: str

    @staticmethod
    def parse(text: str) -> Scope:
        """The scope of that name; RecipeError with the nearest name otherwise."""
        if text.startswith("re:"):
            if regular(text[3:]).groups == 0:
                raise RecipeError(
                    f"scope `{text}` has no group", hint="put what names the cell in parentheses: re:blocks\\.(\\d+)"
                )
        elif text not in DOMAINS:
            words = " ".join(DOMAINS)
            raise RecipeError(
                f"unknown scope `{text}`", hint=nearest(text, DOMAINS) or f"a scope is one of {words} or re:..."
            )
        return Scope(text)

    @property
    def domain(self) -> Domain:
        """The domain of a statistic of this scope."""
        return DOMAINS.get(self.name, Domain.GROUP)

    def cell(self, name: str) -> str:
        """The cell of a tensor, for scopes that no tensor is finer than: `global`, `layer`, `re:...`.

        `layer`: the name up to and including its first number; a name without one is its own cell.
        `re:...`: the text of the first group; a name that does not match is its own cell.
        """
        if self.name == "global":
            return ""
        if self.name == "layer":
            found = _FIRST_NUMBER.match(name)
        elif self.name.startswith("re:"):
            found = re.search(self.name[3:], name)
        else:
            found = None
        return found.group(1) if found and found.group(1) is not None else name

    def cells(self, layout: Layout) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Cell names in order of first appearance, and the cell number of each entry."""
        numbers: dict[str, int] = {}
        of_entry = tuple(numbers.setdefault(self.cell(name), len(numbers)) for name in layout.names)
        return tuple(numbers), of_entry


class Tile(NamedTuple):
    """A run of elements of one tensor: whole rows, or a piece of one row."""

    start: int  # first element, counted within the tensor
    stop: int
    row: int  # first row
    rows: int  # rows touched; 1 for a piece of a long row


class _Grid(NamedTuple):
    """How tensors of one shape are cut into tiles."""

    size: int
    row_size: int
    step: int  # elements of a tile, unless it is the last one of the tensor, or of a row that is cut
    of_row: int  # tiles of a row that is cut; 0: tiles are whole rows
    tiles: int


@lru_cache(maxsize=1024)  # asked for several times for each tile
def _grid(shape: tuple[int, ...], tile: int) -> _Grid:
    size = math.prod(shape)
    rows = shape[0] if len(shape) > 1 else 1
    row_size = size // rows if rows else 0
    if size == 0:
        return _Grid(0, row_size, 0, 0, 0)
    if row_size > tile:
        of_row = -(-row_size // tile)
        return _Grid(size, row_size, tile, of_row, rows * of_row)
    together = tile // row_size
    return _Grid(size, row_size, together * row_size, 0, -(-rows // together))


def rows_are_cut(entry: Entry) -> bool:
    """Whether rows of this tensor are longer than a tile."""
    return _grid(entry.shape, TILE).of_row > 0


def tile_count(entry: Entry) -> int:
    """Number of tiles of a tensor; 0 for an empty one."""
    return _grid(entry.shape, TILE).tiles


def tile(entry: Entry, number: int) -> Tile:
    """The tile of that number, in flat order."""
    start, stop = tile_span(entry, number)
    grid = _grid(entry.shape, TILE)
    return Tile(start, stop, start // grid.row_size, 1 if grid.of_row else (stop - start) // grid.row_size)


def tile_span(entry: Entry, number: int) -> tuple[int, int]:
    """The elements of the tile of that number: the first, and the last + 1."""
    size, row_size, step, of_row, _ = _grid(entry.shape, TILE)
    if of_row:
        row, piece = divmod(number, of_row)
        start = row * row_size + piece * step
        return start, min(start + step, (row + 1) * row_size)
    return number * step, min((number + 1) * step, size)


@lru_cache(maxsize=16)  # all that read, write and look at a part ask for the same
def tiles_of(entry: Entry, start: int, stop: int) -> tuple[tuple[int, int, int], ...]:
    """The tiles that elements start..stop lie in: the number of each, its first element, and the last + 1."""
    if start >= stop:
        return ()
    size, _, step, of_row, _ = _grid(entry.shape, TILE)
    if of_row:
        return tuple([(n, *tile_span(entry, n)) for n in range(tile_at(entry, start), tile_at(entry, stop - 1) + 1)])
    return tuple([(n, n * step, min((n + 1) * step, size)) for n in range(start // step, (stop - 1) // step + 1)])


def tile_at(entry: Entry, element: int) -> int:
    """The number of the tile that holds an element."""
    _, row_size, step, of_row, _ = _grid(entry.shape, TILE)
    if of_row:
        row, within = divmod(element, row_size)
        return row * of_row + within // step
    return element // step
