"""Rows of cells as aligned lines that fit a width: the last column wraps, wider ones lose their middle.

Tables with as many columns as there are models or metrics are parted instead, so that their numbers stay whole.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.cells import cell_len, set_cell_size

_INDENT = "  "
_GAP = "  "
_NARROWEST = 16
_LAST = 24


def laid_out(rows: Sequence[Sequence[str]], width: int, right: Collection[int] = ()) -> list[str]:
    """The lines of a table, indented, without trailing spaces.

    rows    cells by row; rows may be shorter than others, and a row of one cell is a line of its own above the next
    width   columns that the lines may take; columns of 16 and a last one of 24 are the least
    right   numbers of columns that are aligned to the right
    """
    widths = _fitted(_natural(rows), width - len(_INDENT))
    return [line for row in rows for line in _lines(row, widths, right)]


def parted(rows: Sequence[Sequence[str]], width: int, lead: int = 1) -> list[list[int]]:
    """The columns of a table in groups that fit the width: one, or several that all begin with the leading columns.

    rows    cells by row, all of one length
    width   columns that the lines may take; the leading columns lose their middle where they take more than half
    lead    how many columns lead
    """
    widths = _natural(rows)
    first, room = list(range(lead)), width - len(_INDENT)
    room -= min(sum(widths[:lead]) + len(_GAP) * (lead - 1), room // 2)
    groups, taken = [list(first)], 0
    for column, size in enumerate(widths[lead:], lead):
        if taken and taken + len(_GAP) + size > room:
            groups.append(list(first))
            taken = 0
        groups[-1].append(column)
        taken += len(_GAP) + size
    return groups


def _lines(row: Sequence[str], widths: Sequence[int], right: Collection[int]) -> list[str]:
    cells = [_aligned(cell, size, i in right) for i, (cell, size) in enumerate(zip(row, widths, strict=False))]
    if len(row) == 1 < len(widths):
        return [_INDENT + row[0]]
    if len(row) < len(widths):
        return [(_INDENT + _GAP.join(cells)).rstrip()]
    start = _INDENT + "".join(cell + _GAP for cell in cells[:-1])
    last = [cells[-1]] if cell_len(row[-1]) <= widths[-1] else wrapped(row[-1], widths[-1])
    return [(start + last[0]).rstrip(), *(" " * cell_len(start) + more for more in last[1:])]


def _natural(rows: Sequence[Sequence[str]]) -> list[int]:
    count = max((len(row) for row in rows), default=0)
    across = 0 if count == 1 else 1  # cells of a row that says nothing of the columns' widths
    return [max((cell_len(row[i]) for row in rows if max(i, across) < len(row)), default=0) for i in range(count)]


def _fitted(widths: list[int], available: int) -> list[int]:
    """Widths that add up to what is available: the last column gives way first, then the widest others."""
    if not widths:
        return widths
    *others, last = widths
    gaps = len(_GAP) * len(others)
    least = min(last, _LAST)
    while sum(others) + gaps + least > available and max(others, default=0) > _NARROWEST:
        others[others.index(max(others))] -= 1
    return [*others, max(least, min(last, available - sum(others) - gaps))]


def _aligned(cell: str, width: int, right: bool) -> str:
    text = _without_middle(cell, width)
    space = " " * (width - cell_len(text))
    return space + text if right else text + space


def _without_middle(cell: str, width: int) -> str:
    """Names of tensors differ at their ends more often than in their middle."""
    if cell_len(cell) <= width:
        return cell
    head = set_cell_size(cell, (width - 1) // 2)
    tail = cell[-width:]
    while cell_len(tail) > width - 1 - cell_len(head):
        tail = tail[1:]
    return f"{head}…{tail}"


def wrapped(text: str, width: int, hanging: int = 0) -> list[str]:
    """The text broken at spaces into lines of that width, all but the first indented; a wider word stays whole."""
    lines, line = [], ""
    for number, word in enumerate(text.split(" ")):
        joined = f"{line} {word}" if number else word
        if cell_len(joined) <= width or not line.strip():
            line = joined
        else:
            lines.append(line)
            line = " " * hanging + word
    return [*lines, line]
