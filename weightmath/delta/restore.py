"""Gives a tuned file back from its base and one exact delta, or a chain of them, in one pass."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from weightmath.checkpoint import Section
from weightmath.checkpoint.draft import sync_folder
from weightmath.checkpoint.lock import hidden
from weightmath.delta.container import DeltaFile
from weightmath.delta.pieces import in_order, pieces_of
from weightmath.delta.stages import DeltaStage, FileStage, Stage, gaps, rest_pieces
from weightmath.delta.writing import check_free, open_part
from weightmath.errors import CheckpointError, DiskError


class _Part(NamedTuple):
    """Bytes of the file: elements of a run, or, without a name, bytes of the rest."""

    name: str | None
    start: int
    stop: int


def restore(base: Section, chain: Sequence[DeltaFile], path: str | Path, *, threads: int = 2, force: bool) -> int:
    """Write the file that a chain of exact deltas of whole files ends with; its bytes.

    Each delta's base must be the one before it. The sha256 of what is written is compared before it gets its name.
    Fails   CheckpointError if the result is not the file that the delta was made of; OutputError
    """
    path = Path(path)
    check_free(path, [base.checkpoint.path, *(file.path for file in chain)], force=force)
    with ExitStack() as stack:
        reader = stack.enter_context(base.checkpoint.open())
        stage: Stage = FileStage(reader)
        for file in chain:
            descriptor = os.open(file.path, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            stage = DeltaStage(stage, file, descriptor)
        assert isinstance(stage, DeltaStage)
        try:
            part = stack.enter_context(open_part(path))
            unfinished = stack.enter_context(ExitStack())
            unfinished.callback(hidden(path, "part").unlink, missing_ok=True)
            digest = _write(stage, part, threads)
        except OSError as error:
            raise DiskError(f"cannot be written: {error.strerror}", where=str(path)) from None
        if digest != stage.whole.sha256:
            raise CheckpointError(
                f"the result is not the file that the delta was made of: sha256 {digest}, not {stage.whole.sha256}",
                where=str(chain[-1].path),
                hint="everything in the base's file must be what it was, not only its weights; or the delta is damaged",
            )
        reader.check_unchanged()
        os.replace(hidden(path, "part"), path)
        unfinished.pop_all()  # what has the hidden name from now on is another's
        sync_folder(path.parent)
    return stage.whole.size


def _write(stage: DeltaStage, file: BinaryIO, threads: int) -> str:
    def content(one: _Part) -> bytes | memoryview:
        if one.name is None:
            return stage.rest(one.start, one.stop)
        return stage.bits(one.name, one.start, one.stop).view(np.uint8).data

    digest = hashlib.sha256()
    for piece in in_order(content, _parts(stage), threads):
        digest.update(piece)
        file.write(piece)
    file.flush()
    os.fsync(file.fileno())
    return digest.hexdigest()


def _parts(stage: DeltaStage) -> Iterator[_Part]:
    """The parts of the file from its first byte to its last."""
    records = sorted(stage.file.delta.records.values(), key=lambda record: record.at or 0)
    spans = [((record.at or 0), (record.at or 0) + record.entry.nbytes) for record in records]
    if any(stop > start for (_, stop), (start, _) in pairwise(spans)):
        raise CheckpointError("its tensors overlap in the file", where=str(stage.file.path))
    runs = [(*span, record.entry) for span, record in zip(spans, records, strict=True)]
    rest = [(*gap, None) for gap in gaps(spans, stage.whole.size)]
    done = 0
    for start, stop, entry in sorted([*rest, *runs], key=lambda place: place[:2]):
        if entry is not None:
            yield from (_Part(entry.name, one.start, one.stop) for one in pieces_of(entry))
        else:
            yield from _cut(done, done + stop - start)
            done += stop - start


def _cut(start: int, stop: int) -> Iterator[_Part]:
    """A stretch of the rest, cut where its pieces end."""
    for first, last in rest_pieces(stop):
        if last > start:
            yield _Part(None, max(first, start), last)
