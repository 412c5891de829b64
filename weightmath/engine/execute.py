"""The only loop over chunks: groups of tensors go through their programs, chunk by chunk, on all threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from weightmath.algebra.graph import Vector
from weightmath.engine.crew import Crew
from weightmath.engine.done import Chunk, Done
from weightmath.engine.ends import Sink, Source
from weightmath.engine.frame import Call, Frame, Piece, packs, parts, piece_of
from weightmath.engine.grouping import Grouping, readings
from weightmath.engine.helpers import AVAILABLE, Helpers
from weightmath.engine.journal import JournalFile
from weightmath.engine.order import Order
from weightmath.engine.outcome import Outcome
from weightmath.engine.plan import SELECTIONS, WHOLE_TENSOR, Pass, Plan, statistics_below
from weightmath.engine.program import Program
from weightmath.engine.search import Search, sampled_tiles
from weightmath.engine.stream import Io, Progress
from weightmath.engine.tables import Tables
from weightmath.engine.traces import Kept, TalliedPart, Trace, WrittenPart, joined
from weightmath.engine.watch import watched_value
from weightmath.engine.work import CopyJob, Unit, Wanted
from weightmath.scope import TILE

# Of a larger chunk, that are read, computed and written at a time: the arrays of a part stay in the processor's cache
# from the system's copy in to the system's copy out. A chunk is what is handed to a helper and noted in a journal.
PART_TILES = 2
# Of so many registers (0.5 MB each) two tiles still fit: to compare five models takes 13 % less by single tiles, and to
# compare three 20 % more.
_REGISTERS_OF_TWO_TILES = 3
_MOST_FRAMES = 100  # of a thread: what is packed together has many shapes
WORTH_HELPERS = 1 << 24  # elements of a layout: to start processes costs some tens of milliseconds
_Errand = tuple[int, tuple[Piece, ...], Any]  # the round, the chunk, and what earlier rounds have worked out, packed


@dataclass(frozen=True)
class Settings:
    """How to run: nothing here changes a bit of the result."""

    threads: int = 2
    chunk: int = 2 * TILE  # elements
    loops: bool = False  # whether formulas become loops of machine code; their compiler takes memory


@dataclass(frozen=True)
class Results:
    """What a run computed besides the files."""

    outcomes: Mapping[str, Outcome]
    watched: tuple[tuple[str, Any], ...]  # text and value: a number, or numbers by cell
    reads: int  # times the inputs were read
    beside: int = 0  # bytes that helpers held at most, all together


def execute(
    plan: Plan,
    sources: Mapping[Vector, Source],
    sinks: Mapping[str, Sink],
    settings: Settings = Settings(),
    progress: Progress = lambda nbytes: None,
    journal: JournalFile | None = None,
    only: Mapping[int, Sequence[int]] | None = None,
    told: Callable[[Mapping[int, Any]], None] = lambda values: None,
) -> Results:
    """Run a plan: `sources` by input node, `sinks` by output name.

    `progress` is told of bytes read and written, from any thread. What is done is noted in the journal; what it holds
    already, from a run of the same plan and chunk that was stopped, is not computed again. Raises what sources and
    sinks raise. The outputs are complete, but not published, when this returns.

    `only` has numbers of tiles by entry: outputs are computed in these tiles, and in small tensors that share a chunk
    with one. Statistics still read all that they run over. For plans that watch nothing.

    `told` is called between passes with the values that are watched and known, by their numbers: it may raise.
    """
    run = _Run(plan, sources, sinks, settings, progress, journal, only)
    reads = 0
    values: dict[int, Any] = {}
    waiting = {number: {*statistics_below([each.value])} for number, each in enumerate(plan.request.watched)}
    for one in plan.passes:
        reads += run.make_pass(one)
        complete = plan.nodes if one is plan.passes[-1] else (*one.statistics, *one.kept)
        for number in list(waiting):
            waiting[number].difference_update(complete)
            if not waiting[number]:
                del waiting[number]
                values[number] = watched_value(plan.request.watched[number].value, run.tables)
        if one is not plan.passes[-1]:
            told(values)
    watched = tuple((each.text, values[number]) for number, each in enumerate(plan.request.watched))
    return Results(run.io.outcomes(), watched, reads, run.beside)


class _Run:
    """The state of one run: tables that fill, and what is known of which tensors."""

    def __init__(
        self,
        plan: Plan,
        sources: Mapping[Vector, Source],
        sinks: Mapping[str, Sink],
        settings: Settings,
        progress: Progress,
        journal: JournalFile | None,
        only: Mapping[int, Sequence[int]] | None,
    ) -> None:
        self.plan = plan
        self.settings = settings
        self.progress = progress
        self.tables = Tables(plan)
        self.io = Io(plan, sources, sinks, loops=settings.loops)
        self.done = Done(plan, self.io, self.tables, journal)
        # Where some tiles are computed alone, tensors that need not be should not share their chunks.
        self.grouping = Grouping(plan, settings.chunk if only is None else TILE, loops=settings.loops)
        self.order = Order(plan, sinks, self.done, settings.chunk, only)
        self.selections: dict[Vector, Search] = {}  # under way
        self.own = threading.local()  # each thread's frames of the present reading
        self.computing = threading.Semaphore(settings.threads)
        self.beside = 0

    def make_pass(self, one: Pass) -> int:
        """One pass of the plan; returns how many times the inputs were read for it."""
        sample, main = readings(one, self.plan)
        self.selections = {selection.node: selection for selection in main.selections}
        if sample is not None:
            self._read_once(sample)
        self._read_once(main)
        reads = 1
        while missed := tuple(selection for selection in main.selections if not selection.finish()):
            self._read_once(Wanted(selections=missed))
            reads += 1
        for node in main.folds:
            self.tables.finish_wide(node)
        for selection in main.selections:
            self.tables.wide[selection.node] = selection.by_cell()
        return reads

    def _read_once(self, wanted: Wanted) -> None:
        self.own = threading.local()
        # Samples are small, and stay where they are collected.
        large = self.plan.layout.size >= WORTH_HELPERS and not wanted.sampling
        count = self.settings.threads if AVAILABLE and large and self.settings.threads > 1 else 0
        with Helpers(count, partial(self._answer, wanted, {}), self.io.seen) as helpers:
            # Threads that wait for helpers; all compute where helpers are of no use.
            threads = helpers.threads or self.settings.threads
            stages = self.order.stages(self.grouping.groups(wanted), wanted, between=threads)
            Crew(stages, partial(self._work, helpers), self._complete, helpers.kill).run(threads)
            for seen in helpers.dismiss():
                self.io.see_also(seen)
            self.beside = max(self.beside, helpers.held)

    def _answer(self, wanted: Wanted, cache: dict[Any, tuple[Program, ...]], errand: _Errand) -> Any:
        """What a helper does: a chunk of a group, in one of its rounds."""
        number, pieces, known = errand
        for trace in self.done.adopted(known)[1]:
            trace.apply(self)
        program = self.grouping.programs(pieces[0].entry, wanted, cache)[number]
        return self.done.packed(self._compute(program, pieces))

    def _work(self, helpers: Helpers, item: Unit | CopyJob) -> None:
        if isinstance(item, CopyJob):
            nbytes = item.done
            if nbytes is None:
                nbytes, crc = item.sink.copy(item.job)
                self.done.note_copy(item.key, nbytes, crc)
            self.progress(nbytes)
            return
        packed = None if item.done else self._helped(helpers, item)
        if packed is not None:
            chunk = self.done.adopted(packed)
        elif item.done is not None:
            chunk = item.done
        else:
            with self.computing:
                chunk = self._compute(item.group.programs[item.round], item.pieces)
        for trace in chunk[1]:
            trace.apply(self)
        if item.key and item.done is None:
            self.done.note_chunk(item.key, chunk, packed)
        self.progress(chunk[0])

    def _helped(self, helpers: Helpers, item: Unit) -> Any:
        """A chunk that a helper has done, packed; None if this thread is to do it.

        A helper is told what earlier rounds have worked out here, a few numbers for most tensors, and keeps it. Whole
        tensors stay in the process that collects them.
        """
        if not helpers.threads:
            return None
        *before, program = item.group.programs[: item.round + 1]
        needed = [node for earlier in before for node in earlier.completes]
        if any(node.op in WHOLE_TENSOR for node in (*program.completes, *needed)):
            return None
        known = tuple(Kept(node, e, self.tables.local[node][e]) for node in needed for e in item.group.entries)
        return helpers.ask((item.round, item.pieces, self.done.packed((0, known))))

    def _compute(self, program: Program, pieces: tuple[Piece, ...]) -> Chunk:
        return (self._search if program.is_search else self._read)(program, pieces)

    def _search(self, program: Program, pieces: tuple[Piece, ...]) -> Chunk:
        """Selections from a tensor that is too large to be held: reads a sample, then all until each is exact."""
        entry = pieces[0].entry
        searches = {node: Search.within(node, self.plan, entry) for node in program.selections}
        shape = self.plan.layout.entries[entry]
        sampled = tuple(piece_of(entry, shape, number, number) for number in sampled_tiles(searches.values(), entry))
        own = self._searches()
        own.update({node: partial(search.look, sampling=True) for node, search in searches.items()})
        nbytes, _ = self._read(program, sampled)
        own.update({node: search.take_in for node, search in searches.items()})
        missed = list(searches.values())
        while missed:
            read, traces = self._read(program, pieces)
            nbytes += read
            missed = [search for search in missed if not search.finish()]
        found = (Kept(node, entry, search.of_tensor()) for node, search in searches.items())
        return nbytes, (*traces, *found)

    def _searches(self) -> dict[Vector, Any]:
        """What this thread is searching for."""
        found: dict[Vector, Any] = self.own.__dict__.setdefault("searches", {})
        return found

    def _read(self, program: Program, pieces: tuple[Piece, ...]) -> Chunk:
        nbytes = 0
        traces: list[Trace | TalliedPart | WrittenPart] = []
        with np.errstate(all="ignore"):
            for shape, part in self._parts(program, pieces):
                frame, calls = self._prepared(program, shape, part)
                for call in calls:
                    call()
                nbytes += frame.nbytes
                traces += frame.traces
        return nbytes, joined(traces)

    def _parts(
        self, program: Program, pieces: tuple[Piece, ...]
    ) -> Iterator[tuple[tuple[int, int], tuple[Piece, ...]]]:
        """Small tensors as one array where they may be, others in runs of a few tiles; and the shape of each."""
        together = PART_TILES if program.registers <= _REGISTERS_OF_TWO_TILES else 1
        for pack in packs(pieces) if program.packable else zip(pieces):
            if len(pack) > 1:
                yield (1, sum(piece.stop - piece.start for piece in pack)), pack
                continue
            for shape, part in parts(pack[0], self.plan.layout.entries[pack[0].entry], together):
                yield shape, (part,)

    def _prepared(
        self, program: Program, shape: tuple[int, int], pieces: tuple[Piece, ...]
    ) -> tuple[Frame, Sequence[Call]]:
        """This thread's frame for chunks of this shape, at these pieces, and what computes them.

        Frames hold nothing that holds them: a run does without the collector that would find such.
        """
        found: dict[Any, tuple[Frame, Sequence[Call]]] = self.own.__dict__.setdefault("prepared", {})
        if (program, shape) in found:
            frame, calls = found[program, shape]
            frame.go_to(pieces)
            return frame, calls
        if len(found) == _MOST_FRAMES:
            found.clear()
        dtype = self.plan.compute_dtypes[pieces[0].entry].bits
        frame = Frame(self.plan, self.tables, self.io, shape, dtype, self.settings.loops, self._searches())
        frame.go_to(pieces)
        found[program, shape] = frame, program.prepare(frame)
        return found[program, shape]

    def _complete(self, stage: Any) -> None:
        if stage == CopyJob.stage:
            return
        group, number = stage
        for node in group.programs[number].completes:
            if node.op in SELECTIONS:  # known since the chunk with all of the tensor
                continue
            for entry in group.entries:
                self.tables.complete(node, entry)
        if number < group.last:
            self.done.note_round(group.round_key(number), group.programs[number].completes, group.entries)
        if not any(program.steps for program in group.programs[number + 1 :]):  # the last one that has work
            for program in group.programs:
                self.tables.forget(program.completes, group.entries)
