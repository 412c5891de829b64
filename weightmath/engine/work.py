"""Pieces of work: what a reading is for, the groups of entries it goes through, and what one thread takes at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from weightmath.algebra.graph import Vector
from weightmath.engine.done import Chunk
from weightmath.engine.ends import Sink
from weightmath.engine.frame import Piece
from weightmath.engine.plan import Output
from weightmath.engine.program import Program
from weightmath.engine.search import Search, sampled_tiles


@dataclass(frozen=True)
class Wanted:
    """What one reading of the inputs is for."""

    folds: tuple[Vector, ...] = ()  # wide statistics that add up partial states
    selections: tuple[Search, ...] = ()
    kept: tuple[Vector, ...] = ()  # statistics per tensor that `show` and `expect` ask for
    outputs: tuple[Output, ...] = ()
    sampling: bool = False

    def selecting(self, entry: int) -> tuple[Search, ...]:
        """The selections that must see this entry's elements."""
        if not self.selections:
            return ()
        if self.sampling:
            return tuple(selection for selection in self.selections if selection.sampled_tiles(entry))
        return tuple(selection for selection in self.selections if selection.takes(entry))

    def sampled_tiles(self, entry: int) -> list[int]:
        """Numbers of this entry's tiles that some sample consists of."""
        return sampled_tiles(self.selections, entry)


@dataclass(frozen=True, eq=False)
class Group:
    """Entries that go through their rounds together: one tensor, or some small ones."""

    key: str  # in the journal
    entries: tuple[int, ...]
    programs: tuple[Program, ...]  # one per round

    @property
    def last(self) -> int:
        """The number of the last round."""
        return len(self.programs) - 1

    def round_key(self, number: int) -> str:
        """The key of what a round works out."""
        return f"{self.key} round {number}"


@dataclass(frozen=True)
class Unit:
    """One program on one chunk; what is done already is only applied."""

    group: Group
    round: int
    pieces: tuple[Piece, ...]
    key: str = ""  # in the journal; none for what is not noted
    done: Chunk | None = None

    @property
    def stage(self) -> tuple[Group, int]:
        """A round of a group."""
        return self.group, self.round

    @property
    def after(self) -> tuple[Group, int] | None:
        """The round before."""
        return (self.group, self.round - 1) if self.round else None


@dataclass(frozen=True)
class CopyJob:
    """A stretch of the template that an output keeps; `done` are its bytes if it is copied already."""

    sink: Sink
    job: Any
    key: str
    done: int | None
    stage = "copies"
    after = None
