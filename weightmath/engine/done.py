"""What of a plan is done: noted in a journal chunk by chunk, and found there by the run after one that was stopped.

Noted are the traces of each chunk of a reading (see weightmath.engine.traces), the statistics that rounds have worked
out before it, and what was copied. Not noted, and so done again, are samples, which are small, and rounds of tensors
that were in work when the run stopped. What was written counts as done only if it is there when it is looked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weightmath.algebra.graph import Vector
from weightmath.engine.ends import Sink
from weightmath.engine.journal import JournalFile
from weightmath.engine.plan import STATISTICS, WHOLE_TENSOR, Plan
from weightmath.engine.stream import Io
from weightmath.engine.tables import Tables
from weightmath.engine.traces import Kept, Trace, Written, pack, unpack

Chunk = tuple[int, tuple[Trace, ...]]  # bytes read and written, and what is left behind


def _written(chunk: Chunk) -> list[Written]:
    return [trace for trace in chunk[1] if isinstance(trace, Written)]


class Done:
    """The journal in the words of one plan; without one, nothing is done and nothing is noted."""

    def __init__(self, plan: Plan, io: Io, tables: Tables, journal: JournalFile | None) -> None:
        self._plan = plan
        self._io = io
        self._tables = tables
        self._journal = journal
        self._numbers = {node: number for number, node in enumerate(plan.nodes)}

    def note_chunk(self, key: str, chunk: Chunk, packed: Any = None) -> None:
        """Note a chunk, `packed` if it is so already, unless some of what it has written could not be found again."""
        if self._journal is not None and all(trace.crcs is not None for trace in _written(chunk)):
            self._journal.note(key, self.packed(chunk) if packed is None else packed)

    def chunk(self, key: str) -> Chunk | None:
        """A chunk that is done; what it has written counts as written again."""
        found: Chunk | None = self._find(key)
        return found if found is not None and self._io.recall(_written(found)) else None

    def packed(self, chunk: Chunk) -> Any:
        """A chunk that a helper has done, as plain values."""
        return pack(chunk, self._numbers.__getitem__)

    def adopted(self, packed: Any) -> Chunk:
        """A chunk that a helper has done; what it has written counts as written."""
        chunk: Chunk = unpack(packed, self._plan.nodes)
        self._io.adopt(_written(chunk))
        return chunk

    def note_round(self, key: str, nodes: Sequence[Vector], entries: Sequence[int]) -> None:
        """Note the statistics that a round has worked out."""
        if self._journal is not None:
            statistics = [node for node in nodes if node.op in STATISTICS]
            known = self._tables.local
            self._note(key, [Kept(node, entry, known[node][entry]) for node in statistics for entry in entries])

    def round(self, key: str, nodes: Sequence[Vector], through: bool) -> bool:
        """Whether a round is done; the statistics that it has worked out are then known.

        A round that works out whole tensors, which are not noted, is done only if what uses them is: `through`.
        """
        if not through and any(node.op in WHOLE_TENSOR for node in nodes):
            return False
        found: list[Kept] | None = self._find(key)
        for kept in found or ():
            self._tables.keep(*kept)
        return found is not None

    def note_copy(self, key: str, nbytes: int, crc: int | None) -> None:
        """Note that a job has copied so many bytes with this checksum."""
        if self._journal is not None and crc is not None:
            self._note(key, (nbytes, crc))

    def copy(self, key: str, sink: Sink, job: Any) -> int | None:
        """Bytes of a copy that is done; None if it is not."""
        found = self._find(key)
        return found[0] if found is not None and sink.adopt_copy(job, found[1]) else None

    def _note(self, key: str, value: Any) -> None:
        assert self._journal is not None
        self._journal.note(key, pack(value, self._numbers.__getitem__))

    def _find(self, key: str) -> Any:
        found = None if self._journal is None else self._journal.find(key)
        return None if found is None else unpack(found, self._plan.nodes)
