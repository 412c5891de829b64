"""What a chunk leaves behind, as values, so that a run that was stopped need not compute the chunk again.

Whatever the work on a chunk contributes to the run, statistics, counts, bytes of an output, is a *trace*. They are
applied when the chunk is done, by whomever: this process, a helper, or a run before this one, whose journal has them.
`pack` makes plain values of them, which JSON keeps to the bit.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple, Protocol

import numpy as np

from weightmath.algebra.graph import Vector
from weightmath.engine.tables import Tables
from weightmath.kernels.bracket import Cut, Tally

FORMAT = 5  # of what `pack` makes, and of which tensors share a chunk: an older journal is not understood


class Run(Protocol):
    """The state of a run, to which traces are applied from any thread."""

    @property
    def tables(self) -> Tables:
        """Statistics by tensor and cell."""

    @property
    def selections(self) -> Mapping[Vector, Any]:
        """Selections from wide cells that are under way."""

    @property
    def io(self) -> Any:
        """What counts the outputs' pieces."""


class States(NamedTuple):
    """Partial states of a statistic of an entry: one row per tile, from tile `first` on."""

    node: Vector
    entry: int
    first: int
    states: np.ndarray

    def apply(self, run: Run) -> None:
        """Put them in their places."""
        run.tables.states(self.node, self.entry)[self.first : self.first + len(self.states)] = self.states


class Kept(NamedTuple):
    """The value of a statistic of an entry."""

    node: Vector
    entry: int
    value: Any

    def apply(self, run: Run) -> None:
        """Put it in its place."""
        run.tables.keep(self.node, self.entry, self.value)


class KeptRows(NamedTuple):
    """The values of a statistic for some rows of an entry, from row `first` on."""

    node: Vector
    entry: int
    first: int
    values: np.ndarray

    def apply(self, run: Run) -> None:
        """Put them in their places."""
        run.tables.keep_rows(self.node, self.entry, self.first, self.values)


class Tallied(NamedTuple):
    """What the tiles of a chunk contribute to a selection from wide cells.

    tiles    a row of nine for each: entry, row, and of its tally: tile, size, below, inside, keys, whether each of
             these has a count, and whether there is a NaN
    keys     of all tallies, one after the other
    counts   of the keys that have one
    above    of the tallies, where there are any; else nothing
    """

    node: Vector
    tiles: np.ndarray
    keys: np.ndarray
    counts: np.ndarray
    above: tuple[int | None, ...]

    def apply(self, run: Run) -> None:
        """Hand them to the selection that is under way."""
        run.selections[self.node].take(list(self._tallies()))

    def _tallies(self) -> Iterator[tuple[int, int, Tally]]:
        key = count = 0
        for numbers, above in zip_longest(self.tiles.tolist(), self.above):
            entry, row, tile, size, below, inside, keys, is_counted, nan = numbers
            own, counts = self.keys[key : key + keys], self.counts[count : count + keys] if is_counted else None
            yield entry, row, Tally(tile, size, below, inside, own, counts, above, bool(nan))
            key += keys
            count += keys * is_counted


class Written(NamedTuple):
    """Pieces of an output that were written together.

    pieces            a row of five for each: entry, first element, elements, those whose bits differ from the
                      template's (all of them without a template), NaN and infinite ones
    crcs              the checksum of each one's bytes; None: they cannot be looked for later
    nbytes            bytes of all
    places, moments   of the tiles that are looked at: which, and the sums for relative change and cosine
    """

    output: str
    pieces: np.ndarray
    crcs: np.ndarray | None
    nbytes: int
    places: np.ndarray
    moments: np.ndarray

    def apply(self, run: Run) -> None:
        """Count them."""
        run.io.count(self)


class TalliedPart(NamedTuple):
    """What `Tallied` says, of a part of a chunk: entry, row and tally of each tile."""

    node: Vector
    tallies: Sequence[tuple[int, int, Tally]]


class WrittenPart(NamedTuple):
    """What `Written` says, of a part of a chunk: as lists, since arrays of one row cost more than they hold."""

    output: str
    pieces: Sequence[tuple[int, int, int, int, int]]
    crcs: Sequence[int | None]
    nbytes: int
    places: Sequence[int]
    moments: Sequence[np.ndarray]


def joined(traces: Sequence[Trace | TalliedPart | WrittenPart]) -> tuple[Trace, ...]:
    """Traces of the parts of a chunk: as one each, what they say of a statistic of an entry, a selection, an output.

    Tens of arrays of a few numbers cost more to pack and to send than it takes to compute them.
    """
    states: dict[tuple[Vector, int], list[States]] = {}
    tallied: dict[Vector, list[tuple[int, int, Tally]]] = {}
    written: dict[str, list[WrittenPart]] = {}
    others: list[Trace] = []
    for trace in traces:
        if isinstance(trace, States):
            states.setdefault((trace.node, trace.entry), []).append(trace)
        elif isinstance(trace, TalliedPart):
            tallied.setdefault(trace.node, []).extend(trace.tallies)
        elif isinstance(trace, WrittenPart):
            written.setdefault(trace.output, []).append(trace)
        else:
            others.append(trace)
    return (
        *map(_states, states.values()),
        *others,
        *(_tallied(node, own) for node, own in tallied.items()),
        *(_written(output, own) for output, own in written.items()),
    )


def _states(parts: Sequence[States]) -> States:
    """Those of parts that follow each other, as the parts of a piece do."""
    return parts[0]._replace(states=np.concatenate([part.states for part in parts])) if len(parts) > 1 else parts[0]


def _tallied(node: Vector, found: Sequence[tuple[int, int, Tally]]) -> Tallied:
    tallies = [tally for _, _, tally in found]
    tiles = [
        (entry, row, one.tile, one.size, one.below, one.inside, one.keys.size, one.counts is not None, one.nan)
        for entry, row, one in found
    ]
    counts = [one.counts for one in tallies if one.counts is not None]
    above = tuple(one.above for one in tallies)
    return Tallied(
        node,
        np.array(tiles, np.int64),
        np.concatenate([one.keys for one in tallies]),
        np.concatenate([np.empty(0, np.int64), *counts]),
        above if any(one is not None for one in above) else (),
    )


def _written(output: str, parts: Sequence[WrittenPart]) -> Written:
    pieces = [piece for part in parts for piece in part.pieces]
    crcs = [crc for part in parts for crc in part.crcs]
    places = [place for part in parts for place in part.places]
    moments = [moment for part in parts for moment in part.moments]
    return Written(
        output,
        np.array(pieces, np.int64),
        None if None in crcs else np.array(crcs, np.int64),
        sum(part.nbytes for part in parts),
        np.array(places, np.int64),
        np.concatenate(moments) if moments else np.zeros((0, 3)),
    )


Trace = States | Kept | KeptRows | Tallied | Written
_RECORDS: Mapping[str, Callable[..., Any]] = {
    kind.__name__: kind for kind in (States, Kept, KeptRows, Tallied, Written, Cut)
}


_PLAIN = frozenset((int, float, str, bool, type(None)))


def pack(value: Any, number: Callable[[Vector], int]) -> Any:
    """A trace, or a value in one, as plain lists, mappings, texts and numbers; `number` is a node's place in the plan.

    Python's JSON writes floats so that they are read back to the bit; arrays are their bytes.
    """
    if value.__class__ in _PLAIN:
        return value
    if isinstance(value, Vector):
        return {"node": number(value)}
    if isinstance(value, np.ndarray):
        return {"array": [value.dtype.str, list(value.shape), base64.b64encode(value.tobytes()).decode()]}
    kind = type(value).__name__
    if kind in _RECORDS:
        fields = vars(value).values() if isinstance(value, Cut) else value
        return {kind: [pack(field, number) for field in fields]}
    packed = [pack(each, number) for each in value]
    return packed if isinstance(value, list) else {"tuple": packed}


def unpack(value: Any, nodes: Sequence[Vector]) -> Any:
    """What `pack` was given."""
    if isinstance(value, list):
        return [unpack(each, nodes) for each in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "node":
        return nodes[content]
    if kind == "tuple":
        return tuple(unpack(content, nodes))
    if kind == "array":
        dtype, shape, text = content
        return np.frombuffer(bytearray(base64.b64decode(text)), np.dtype(dtype)).reshape(shape)
    return _RECORDS[kind](*(unpack(field, nodes) for field in content))
