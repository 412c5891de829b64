"""Names and tensors that follow each other in a pickle, as one value: what is read once can be recalled.

Most of a pickle are such passages, and those of fine-tunes of one model are the same.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import NamedTuple

from weightmath.checkpoint.nodes import Value
from weightmath.checkpoint.rebuild import Tensor

HEAD = 64  # bytes by which a passage is looked for
FEW = 16  # tensors; a shorter passage is not remembered


class Passage(NamedTuple):
    """Names and tensors that follow each other, with all that reading them depends on and does.

    raw          their bytes
    reads        what else of the memo they read, by number
    before       the highest memo number, and whether they are set in a mapping
    after        the highest memo number
    values       name, tensor, name, tensor, ...
    named        memo number of each name; the next one is that of its storage's key
    made         memo number of each tensor
    """

    raw: bytes
    reads: dict[int, tuple[object, ...]]
    before: tuple[int, bool]
    after: int
    values: list[Value]
    named: array[int]
    made: array[int]

    def memo(self, row: int) -> dict[int, Value]:
        """What one of the tensors puts into the memo, but for what is inside of it."""
        name, tensor = self.values[2 * row : 2 * row + 2]
        assert isinstance(tensor, Tensor)
        return {self.named[row]: name, self.named[row] + 1: tensor.key, self.made[row]: tensor}


Passages = dict[bytes, Passage]  # by their first bytes


class Memo(dict[int, Value]):
    """A memo together with what passages put into it: they are many, and hardly one of them is ever read again."""

    def __init__(self) -> None:
        super().__init__()
        self.passages: list[Passage] = []

    def __missing__(self, number: int) -> Value:
        place = bisect_left(self.passages, number, key=lambda passage: passage.before[0]) - 1
        if place < 0:
            raise KeyError(number)
        return self.passages[place].memo(bisect_right(self.passages[place].named, number) - 1)[number]
