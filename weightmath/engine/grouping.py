"""Which entries go through their programs together, reading after reading.

Tensors that are computed alike share a chunk: to hand one over costs as much as some hundred thousand elements. What a
pass has worked out of tensors stays known in later ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from weightmath.algebra.graph import Vector
from weightmath.engine.plan import REDUCTIONS, STATISTICS, Pass, Plan
from weightmath.engine.program import Compiler, Program
from weightmath.engine.search import Search
from weightmath.engine.work import Group, Wanted
from weightmath.scope import TILE


def readings(one: Pass, plan: Plan) -> tuple[Wanted | None, Wanted]:
    """What a pass reads the inputs for: the samples of its selections, if it has some, and then all else."""
    folds = tuple(node for node in one.statistics if node.op in REDUCTIONS)
    selections = tuple(Search.wide(node, plan) for node in one.statistics if node.op not in REDUCTIONS)
    sample = Wanted(selections=selections, sampling=True) if selections else None
    return sample, Wanted(folds, selections, one.kept, one.outputs)


class Grouping:
    """The groups of each reading of one run, which are to be asked for in the order of the readings.

    chunk   elements of a group of several tensors, at most
    """

    def __init__(self, plan: Plan, chunk: int = TILE, *, loops: bool = False) -> None:
        self.plan = plan
        self._chunk = chunk
        self._loops = loops
        self._known: dict[object, frozenset[Vector]] = {}  # statistics of earlier passes, by group key
        self._reading = 0  # number of the reading, from 1

    def groups(self, wanted: Wanted) -> Iterator[Group]:
        """Entries in the order of work, but that those with the same programs wait for others to share a group."""
        self._reading += 1
        cache: dict[Any, tuple[Program, ...]] = {}
        waiting: dict[tuple[Program, ...], list[int]] = {}
        filled: Counter[tuple[Program, ...]] = Counter()  # elements that wait
        own: tuple[Program, ...] = ()
        keys, sizes, last = self.plan.group_keys, self.plan.layout.sizes, None
        for entry in self.plan.order:
            size = sizes[entry]
            if keys[entry] != last or wanted.selections:  # neighbours are mostly alike
                last, own = keys[entry], self.programs(entry, wanted, cache)
            if size == 0 or not own:
                continue
            if size > self._chunk or wanted.sampling or not all(program.is_light for program in own):
                yield self._group([entry], own)
                continue
            if filled[own] + size > self._chunk:
                yield self._group(waiting.pop(own), own)
                filled[own] = 0
            waiting.setdefault(own, []).append(entry)
            filled[own] += size
        for programs, entries in waiting.items():
            yield self._group(entries, programs)
        if not wanted.sampling:
            self._remember(cache)

    def _group(self, entries: Sequence[int], programs: tuple[Program, ...]) -> Group:
        return Group(f"{self._reading}.{entries[0]}", tuple(entries), programs)

    def programs(self, entry: int, wanted: Wanted, cache: dict[Any, tuple[Program, ...]]) -> tuple[Program, ...]:
        """The programs of an entry, one for each round; the cache, of one reading, has those of entries like it."""
        key = (self.plan.group_keys[entry], *map(id, wanted.selecting(entry)))
        if key not in cache:
            cache[key] = self._compiled(entry, wanted)
        return cache[key]

    def _remember(self, cache: Mapping[Any, tuple[Program, ...]]) -> None:
        """Statistics that rounds have worked out stay known in later passes; whole tensors do not."""
        found: dict[object, frozenset[Vector]] = {}
        for (key, *_), programs in cache.items():
            completed = (node for program in programs[:-1] for node in program.completes)
            nodes = frozenset(node for node in completed if node.op in STATISTICS)
            # Entries of one key may have gone through different programs: known is what all have worked out.
            found[key] = found.get(key, nodes) & nodes
        for key, nodes in found.items():
            self._known[key] = self._known.get(key, frozenset()) | nodes

    def _compiled(self, entry: int, wanted: Wanted) -> tuple[Program, ...]:
        """One program per round: statistics of the tensor by their level, then all that is wanted."""
        known = self._known.get(self.plan.group_keys[entry], frozenset())
        compiler = Compiler(self.plan, entry, known, loops=self._loops)
        folds = [node for node in wanted.folds if self.plan.counts(node, entry)]
        selections = wanted.selecting(entry)
        outputs = [output for output in wanted.outputs if self.plan.facts.present[output.value][entry]]
        if not (folds or selections or outputs or wanted.kept):
            return ()
        feeds = [(s.argument, partial(s.step, sampling=wanted.sampling)) for s in selections]
        return compiler.rounds(folds, outputs, wanted.kept, feeds)
