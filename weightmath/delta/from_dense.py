"""Makes a delta file of numbers that were computed: the last step of a recipe whose output ends in `.delta`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np

from weightmath.checkpoint import Reader, Section, TensorInfo
from weightmath.delta.description import Delta
from weightmath.delta.make import described, number_record
from weightmath.delta.options import Options
from weightmath.delta.pieces import pieces_of
from weightmath.delta.sides import BY, side_of
from weightmath.delta.writing import DeltaWriter
from weightmath.layout import Entry


def from_dense(
    dense: Section,
    base: Section,
    entries: Mapping[str, Entry],
    path: Path,
    options: Options,
    record: Callable[[str], str] | None,
    threads: int,
) -> None:
    """Write float32 tensors as a delta of a base; a file of that name is replaced.

    dense     where the numbers lie
    entries   the tensors of the delta, by their names in both; of a longer tensor the leading rows
    record    the provenance that the file carries, made of the fingerprint that its numbers have
    Fails     as `make` does
    """
    with ExitStack() as stack:
        reader = stack.enter_context(dense.checkpoint.open())
        inputs = [*base.checkpoint.files, *dense.checkpoint.files]
        writer = stack.enter_context(DeltaWriter(path, list(entries.values()), inputs, record=record, force=True))
        records = [
            number_record(writer, entry, partial(_numbers, reader, dense.tensors[name], entry), options, threads)
            for name, entry in entries.items()
        ]
        about = Delta(options.kind, options.given(), side_of(base, threads), None, None, BY, {})
        writer.finish(described(records, options, about))


def _numbers(reader: Reader, tensor: TensorInfo, entry: Entry) -> Iterator[np.ndarray]:
    return (reader.bits(tensor, piece.start, piece.stop) for piece in pieces_of(entry))
