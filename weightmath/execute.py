"""The only loop over chunks: groups of tensors go through their programs, chunk by chunk, on all threads.

Small tensors that are computed alike share a chunk. A tensor whose own statistics are needed goes through *rounds*:
each round reads it once more, while it is still in the page cache. Between a tensor's round and its next stands a round
of the next tensor, so that threads seldom wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from weightmath.crew import Crew
from weightmath.frame import Frame, Piece
from weightmath.graph import Vector
from weightmath.kernels.reduce import REDUCTIONS
from weightmath.layout import Entry
from weightmath.plan import STATISTICS, Output, Pass, Plan
from weightmath.program import Compiler, Program
from weightmath.scope import TILE, rows_are_cut, tile, tile_count
from weightmath.stream import Io, Outcome, Progress, Sink, Source
from weightmath.tables import Tables
from weightmath.watch import watched_value
from weightmath.wide_selection import WideSelection


@dataclass(frozen=True)
class Settings:
    """How to run: nothing here changes a bit of the result."""

    threads: int = 2
    chunk: int = 2 * TILE  # elements


@dataclass(frozen=True)
class Results:
    """What a run computed besides the files."""

    outcomes: Mapping[str, Outcome]
    watched: tuple[tuple[str, Any], ...]  # text and value: a number, or numbers by cell
    reads: int  # times the inputs were read


def execute(
    plan: Plan,
    sources: Mapping[Vector, Source],
    sinks: Mapping[str, Sink],
    settings: Settings = Settings(),
    progress: Progress = lambda nbytes: None,
) -> Results:
    """Run a plan: `sources` by input node, `sinks` by output name.

    `progress` is told of bytes read and written, from any thread. Raises what sources and sinks raise. The outputs are
    complete, but not published, when this returns.
    """
    run = _Run(plan, sources, sinks, settings, progress)
    reads = 0
    for one in plan.passes:
        reads += run.make_pass(one)
    watched = tuple((each.text, watched_value(each.value, run.tables)) for each in plan.request.watched)
    return Results(run.io.outcomes(), watched, reads)


@dataclass(frozen=True)
class _Wanted:
    """What one reading of the inputs is for."""

    folds: tuple[Vector, ...] = ()  # wide statistics that add up partial states
    selections: tuple[WideSelection, ...] = ()
    kept: tuple[Vector, ...] = ()  # statistics per tensor that `show` and `expect` ask for
    outputs: tuple[Output, ...] = ()
    sampling: bool = False

    def selecting(self, entry: int) -> tuple[WideSelection, ...]:
        """The selections that must see this entry's elements."""
        if self.sampling:
            return tuple(selection for selection in self.selections if selection.sampled_tiles(entry))
        return tuple(selection for selection in self.selections if selection.takes(entry))


@dataclass(frozen=True, eq=False)
class _Group:
    """Entries that go through their rounds together: one tensor, or some small ones."""

    number: int
    entries: tuple[int, ...]
    programs: tuple[Program, ...]  # one per round


@dataclass(frozen=True)
class _Unit:
    """One program on one chunk."""

    group: _Group
    round: int
    pieces: tuple[Piece, ...]

    @property
    def stage(self) -> tuple[_Group, int]:
        """A round of a group."""
        return self.group, self.round

    @property
    def after(self) -> tuple[_Group, int] | None:
        """The round before."""
        return (self.group, self.round - 1) if self.round else None


@dataclass(frozen=True)
class _Copy:
    """A stretch of the template that an output keeps."""

    sink: Sink
    job: Any
    stage = "copies"
    after = None


class _Run:
    """The state of one run: tables that fill, and what is known of which tensors."""

    def __init__(
        self,
        plan: Plan,
        sources: Mapping[Vector, Source],
        sinks: Mapping[str, Sink],
        settings: Settings,
        progress: Progress,
    ) -> None:
        self.plan = plan
        self.settings = settings
        self.sinks = sinks
        self.progress = progress
        self.tables = Tables(plan)
        self.io = Io(plan, sources, sinks, progress)
        self.known: dict[object, frozenset[Vector]] = {}  # statistics of earlier passes, by group key

    def make_pass(self, one: Pass) -> int:
        """One pass of the plan; returns how many times the inputs were read for it."""
        folds = tuple(node for node in one.statistics if node.op in REDUCTIONS)
        selections = tuple(WideSelection(node, self.plan) for node in one.statistics if node.op not in REDUCTIONS)
        if selections:
            self._read_once(_Wanted(selections=selections, sampling=True))
        self._read_once(_Wanted(folds, selections, one.kept, one.outputs))
        reads = 1
        while open_selections := tuple(selection for selection in selections if not selection.finish()):
            self._read_once(_Wanted(selections=open_selections))
            reads += 1
        for node in folds:
            self.tables.finish_wide(node)
        for selection in selections:
            self.tables.wide[selection.node] = selection.values()
        return reads

    def _read_once(self, wanted: _Wanted) -> None:
        crew = Crew(self._stages(wanted), self._work, self._complete)
        crew.run(self.settings.threads)

    def _work(self, item: _Unit | _Copy) -> None:
        if isinstance(item, _Copy):
            self.progress(item.sink.copy(item.job))
            return
        with np.errstate(all="ignore"):
            item.group.programs[item.round].run(self._frame(item.pieces))

    def _frame(self, pieces: tuple[Piece, ...]) -> Frame:
        first = self.plan.layout.entries[pieces[0].entry]
        elements = sum(piece.stop - piece.start for piece in pieces)
        flat = len(pieces) > 1 or rows_are_cut(first)
        shape = (1, elements) if flat else (elements // first.row_size, first.row_size)
        return Frame(self.plan, self.tables, self.io, pieces, shape, self.plan.compute_dtypes[pieces[0].entry].bits)

    def _complete(self, stage: Any) -> None:
        if stage == _Copy.stage:
            return
        group, number = stage
        for node in group.programs[number].completes:
            for entry in group.entries:
                self.tables.complete(node, entry)
        if number == len(group.programs) - 1:
            for program in group.programs:
                self.tables.forget(program.completes, group.entries)

    # --- the order of work

    def _stages(self, wanted: _Wanted) -> Iterator[tuple[Any, list[_Unit | _Copy]]]:
        """Rounds of groups, a round of the next tensor between two of one; then what is only copied."""
        waiting: list[tuple[_Group, int]] = []
        for group in self._groups(wanted):
            waiting.append((group, 0))
            yield from self._due(waiting, wanted)
        while waiting:
            yield from self._due(waiting, wanted)
        copies = [_Copy(self.sinks[o.name], job) for o in wanted.outputs for job in self.sinks[o.name].copies]
        if copies:
            yield _Copy.stage, list(copies)

    def _due(self, waiting: list[tuple[_Group, int]], wanted: _Wanted) -> Iterator[tuple[Any, list[_Unit | _Copy]]]:
        """The next round of each waiting group, newest first; groups that are through leave."""
        for place in reversed(range(len(waiting))):
            group, number = waiting[place]
            yield (group, number), self._units(group, number, wanted)
            waiting[place] = (group, number + 1)
        waiting[:] = [(group, number) for group, number in waiting if number < len(group.programs)]

    def _units(self, group: _Group, number: int, wanted: _Wanted) -> list[_Unit | _Copy]:
        last = number == len(group.programs) - 1
        if len(group.entries) > 1:
            whole = tuple(piece for e in group.entries for piece in pieces(e, self.plan.layout.entries[e], TILE))
            return [_Unit(group, number, whole)]
        entry = group.entries[0]
        shape = self.plan.layout.entries[entry]
        if wanted.sampling and last:
            tiles = sorted({n for selection in wanted.selections for n in selection.sampled_tiles(entry)})
            return [_Unit(group, number, (_piece(entry, shape, n, n),)) for n in tiles]
        return [_Unit(group, number, (piece,)) for piece in pieces(entry, shape, self.settings.chunk)]

    def _groups(self, wanted: _Wanted) -> Iterator[_Group]:
        """Entries in the order of work; small ones with the same program share a group."""
        cache: dict[Any, tuple[Program, ...]] = {}
        pack: list[int] = []
        programs: tuple[Program, ...] = ()
        number = 0
        for entry in self.plan.order:
            shape = self.plan.layout.entries[entry]
            key = (self.plan.group_keys[entry], *map(id, wanted.selecting(entry)))
            if key not in cache:
                cache[key] = self._programs(entry, wanted)
            own = cache[key]
            if shape.size == 0 or not own:
                continue
            packable = len(own) == 1 and own[0].packable and shape.size <= TILE and not wanted.sampling
            full = sum(self.plan.layout.entries[e].size for e in pack) + shape.size > TILE
            if pack and not (packable and own is programs and not full):
                yield _Group(number, tuple(pack), programs)
                number, pack = number + 1, []
            if packable:
                pack, programs = [*pack, entry], own
            else:
                yield _Group(number, (entry,), own)
                number += 1
        if pack:
            yield _Group(number, tuple(pack), programs)
        if not wanted.sampling:
            self._remember(cache)

    def _remember(self, cache: Mapping[Any, tuple[Program, ...]]) -> None:
        """Statistics that rounds have worked out stay known in later passes; whole tensors do not."""
        found: dict[object, frozenset[Vector]] = {}
        for (key, *_), programs in cache.items():
            completed = (node for program in programs[:-1] for node in program.completes)
            nodes = frozenset(node for node in completed if node.op in STATISTICS)
            # Entries of one key may have gone through different programs: known is what all have worked out.
            found[key] = found.get(key, nodes) & nodes
        for key, nodes in found.items():
            self.known[key] = self.known.get(key, frozenset()) | nodes

    def _programs(self, entry: int, wanted: _Wanted) -> tuple[Program, ...]:
        """One program per round: statistics of the tensor by their level, then all that is wanted."""
        compiler = Compiler(self.plan, entry, self.known.get(self.plan.group_keys[entry], frozenset()))
        folds = [node for node in wanted.folds if self.plan.counts(node, entry)]
        selections = wanted.selecting(entry)
        outputs = [output for output in wanted.outputs if self.plan.facts.present[output.value][entry]]
        if not (folds or selections or outputs or wanted.kept):
            return ()
        feeds = [(s.argument, partial(s.step, sampling=wanted.sampling)) for s in selections]
        return compiler.rounds(folds, outputs, wanted.kept, feeds)


def pieces(entry: int, shape: Entry, chunk: int) -> Iterator[Piece]:
    """A tensor as pieces of whole tiles of up to `chunk` elements; a piece of a cut row stays within the row."""
    count = tile_count(shape)
    together = max(1, chunk // TILE)
    of_row = count // shape.rows if rows_are_cut(shape) else count
    for first in range(0, count, of_row or 1):
        for start in range(first, first + of_row, together):
            yield _piece(entry, shape, start, min(start + together, first + of_row) - 1)


def _piece(entry: int, shape: Entry, first: int, last: int) -> Piece:
    start, stop = tile(shape, first), tile(shape, last)
    return Piece(entry, first, last, start.start, stop.stop, start.row)
