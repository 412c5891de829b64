"""Reads the bits of exact deltas, given those that they were seen from; along a chain of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from weightmath.checkpoint import Reader, Section
from weightmath.delta.bits import WAYS, expected, unpack
from weightmath.delta.decoding import DeltaReader
from weightmath.delta.description import Record
from weightmath.delta.pieces import touched
from weightmath.dtypes import DType
from weightmath.errors import CheckpointError

BASE = -1


class Link(NamedTuple):
    """A delta in a chain or stack.

    scale    factor of its numbers
    source   number of the link whose tensors it was seen from, or BASE
    """

    reader: DeltaReader
    scale: float
    source: int


class Stack:
    """Tensors of a base's section, and what each link leads to."""

    def __init__(self, base: Section, reader: Reader, links: Sequence[Link]) -> None:
        self._base, self._reader, self.links = base, reader, links
        records = [link.reader.file.delta.records.values() for link in links]
        self._by_source = [{record.source: record for record in found} for found in records]

    def record(self, number: int, name: str) -> Record | None:
        """What a link says about a tensor of the section; None where it leaves it as it is."""
        delta = self.links[number].reader.file.delta
        if delta.whole is None:
            return delta.records.get(name)
        source = self._run(self.links[number].source, name)
        if source is None:
            return None
        return self._by_source[number].get(source)

    def _run(self, number: int, name: str) -> str | None:
        """Under which name a whole file holds a tensor of the section by itself."""
        if number != BASE:
            record = self.record(number, name)
            return record.entry.name if record else None
        tensor = self._base.tensors[name]
        if not tensor.contiguous or tensor.offset or tensor.entry.nbytes != tensor.storage.nbytes:
            raise CheckpointError(
                f"`{name}` shares its storage, and can be computed with in weights alone",
                where=str(self._base.checkpoint.path),
                hint="make the delta with --keep weights",
            )
        return tensor.dotted

    def dtype(self, number: int, name: str) -> DType:
        """The dtype of a tensor after a link."""
        if number == BASE:
            return self._base.tensors[name].entry.dtype
        record = self.record(number, name)
        return record.entry.dtype if record else self.dtype(self.links[number].source, name)

    def bits(self, number: int, name: str, start: int, stop: int) -> np.ndarray:
        """Elements [start, stop) of a tensor as a link leaves them; those of BASE as they are."""
        if number == BASE:
            tensor = self._base.tensors[name]
            return self._reader.bits(tensor, start, max(start, min(stop, tensor.entry.size)))
        link, record = self.links[number], self.record(number, name)
        if record is None:
            return self.bits(link.source, name, start, stop)
        if record.encoder not in WAYS:
            raise CheckpointError(f"`{name}` is stored as numbers, not bits", where=str(link.reader.file.path))

        def known(first: int, last: int) -> np.ndarray:
            before = self.dtype(link.source, name)
            return expected(self.bits(link.source, name, first, last), before, record.entry.dtype, last - first)

        return _decoded(link.reader, record, known, start, min(stop, record.entry.size))


def _decoded(
    reader: DeltaReader, record: Record, known: Callable[[int, int], np.ndarray], start: int, stop: int
) -> np.ndarray:
    parts = [np.empty(0, record.entry.dtype.bits)]
    for piece, own in touched(record.entry, start, stop):
        there = known(piece.start, piece.stop)
        content = reader.content(record.entry.name, piece.number)
        if content:
            with reader.file.named():
                there = unpack(content, there, record.encoder)  # type: ignore[arg-type]
        parts.append(there.view(record.entry.dtype.bits)[own])
    return np.concatenate(parts)
