"""The order of work of a reading: its stages, the pieces of work of each, and what of them is done already.

A tensor whose own statistics are needed goes through *rounds*: each round reads it once more, while it is still in the
page cache. Between a round of a group and its next stand rounds of the groups that follow, so that threads seldom wait
for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weightmath.engine.done import Done
from weightmath.engine.ends import Sink
from weightmath.engine.frame import Piece, piece_of, pieces
from weightmath.engine.plan import Output, Plan
from weightmath.engine.work import CopyJob, Group, Unit, Wanted

Stage = tuple[Any, list[Unit | CopyJob]]  # a round of a group, or what is only copied


class Order:
    """In which order the readings of one run go through their groups.

    chunk   elements of a piece of work
    only    by entry the numbers of tiles that outputs are computed in; None: in all
    """

    def __init__(
        self,
        plan: Plan,
        sinks: Mapping[str, Sink],
        done: Done,
        chunk: int,
        only: Mapping[int, Sequence[int]] | None,
    ) -> None:
        self._entries = plan.layout.entries
        self._sinks = sinks
        self._done = done
        self._chunk = chunk
        self._only = only

    def stages(self, groups: Iterable[Group], wanted: Wanted, between: int = 1) -> Iterator[Stage]:
        """Rounds of groups, rounds of `between` other groups between two of one; then what is only copied.

        Where whole tensors are held from round to round, the next group is all that comes between.
        """
        waiting: list[_Waiting] = []
        for group in groups:
            if wanted.outputs and self._only is not None and self._only.keys().isdisjoint(group.entries):
                continue
            is_light = all(program.is_light for program in group.programs)
            waiting.append(_Waiting(group, self._rounds(group, wanted), between if is_light else 1))
            yield from _due(waiting)
        while waiting:
            yield from _due(waiting)
        yield CopyJob.stage, list(self._copies(wanted.outputs))

    def _copies(self, outputs: Sequence[Output]) -> Iterator[CopyJob]:
        for place, output in enumerate(outputs):
            sink = self._sinks[output.name]
            for number, job in enumerate(sink.copies):
                key = f"output {place} copy {number}"
                yield CopyJob(sink, job, key, self._done.copy(key, sink, job))

    def _rounds(self, group: Group, wanted: Wanted) -> list[list[Unit]]:
        """The units of each round of a group; a round that is done has none."""
        *before, last = (self._units(group, number, wanted) for number in range(len(group.programs)))
        through = all(unit.done is not None for unit in last)
        rounds = [last]
        for number in reversed(range(len(before))):
            is_done = self._done.round(group.round_key(number), group.programs[number].completes, through)
            rounds.insert(0, [] if is_done else before[number])
            through = through and is_done
        return rounds

    def _units(self, group: Group, number: int, wanted: Wanted) -> list[Unit]:
        """The chunks of a round; those of the last one are noted, but for samples."""
        if not group.programs[number].steps:  # all that was wanted is known after the rounds before
            return []
        if group.programs[number].selections:
            shapes = ((entry, self._entries[entry]) for entry in group.entries)
            return [Unit(group, number, tuple(piece for entry, e in shapes for piece in pieces(entry, e, e.size)))]
        chunks = self._chunks(group, wanted, is_last=number == group.last)
        if wanted.sampling or number < group.last:
            return [Unit(group, number, chunk) for chunk in chunks]
        keys = [f"{group.key}.{chunk[0].first_tile}" for chunk in chunks]
        return [Unit(group, number, chunk, key, self._done.chunk(key)) for key, chunk in zip(keys, chunks, strict=True)]

    def _chunks(self, group: Group, wanted: Wanted, *, is_last: bool) -> list[tuple[Piece, ...]]:
        if len(group.entries) > 1:
            return [tuple(piece for e in group.entries for piece in pieces(e, self._entries[e], self._chunk))]
        (entry,) = group.entries
        shape = self._entries[entry]
        if is_last and wanted.sampling:
            return [(piece_of(entry, shape, n, n),) for n in wanted.sampled_tiles(entry)]
        if is_last and wanted.outputs and self._only is not None:
            return [(piece_of(entry, shape, n, n),) for n in self._only[entry]]
        return [(piece,) for piece in pieces(entry, shape, self._chunk)]


@dataclass
class _Waiting:
    """A group with the rounds that are to come: one now, and one whenever so many other groups have had a turn."""

    group: Group
    rounds: list[list[Unit]]
    between: int
    turns: int = 0


def _due(waiting: list[_Waiting]) -> Iterator[Stage]:
    """The next rounds of the groups whose turn it is, newest first; groups that are through leave."""
    for each in reversed(waiting):
        if each.turns % each.between == 0:
            yield (each.group, len(each.group.programs) - len(each.rounds)), list(each.rounds.pop(0))
        each.turns += 1
    waiting[:] = [each for each in waiting if each.rounds]
