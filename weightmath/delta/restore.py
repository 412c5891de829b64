"""Gives a tuned file back from its base and one exact delta, or a chain of them, in one pass."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from weightmath.checkpoint import Reader, Section
from weightmath.checkpoint.draft import sync_folder
from weightmath.checkpoint.ending import ENDINGS, Form, form_of
from weightmath.checkpoint.lock import hidden
from weightmath.checkpoint.safetensors import is_safetensors
from weightmath.delta.container import DeltaFile, problems_of
from weightmath.delta.decoding import DeltaReader
from weightmath.delta.pieces import in_order, pieces_of
from weightmath.delta.planes import DAMAGED
from weightmath.delta.stages import DeltaStage, FileStage, Stage, gaps, rest_pieces
from weightmath.delta.writing import check_free, close_part, open_part
from weightmath.errors import CheckpointError, OutputError, shell_word, unwritable

_HEAD = 512
_OTHER_BASE = "the delta is sound; everything in the base's file must be what it was, not only its weights"
_CALLED: dict[Form | None, str] = {
    "torch zip": "a file of torch's",
    "safetensors": "a safetensors file",
    "folder": "a folder of safetensors",
}


class _Part(NamedTuple):
    """Bytes of the file: elements of a region, or, without a name, bytes of the rest."""

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
        reader, stage = stack.enter_context(_opened(base, chain))
        try:
            part = open_part(path)
            stack.callback(close_part, part)
            unfinished = stack.enter_context(ExitStack())
            unfinished.callback(hidden(path, "part").unlink, missing_ok=True)
            digest = _write(stage, part, threads)
        except OSError as error:
            raise unwritable(path, error) from None
        if digest != stage.whole.sha256:
            raise CheckpointError(
                f"the result is not the file that the delta was made of: sha256 {digest}, not {stage.whole.sha256}",
                where=str(chain[-1].path),
                hint=DAMAGED if any(problems_of(file) for file in chain) else _OTHER_BASE,
            )
        reader.check_unchanged()
        os.replace(hidden(path, "part"), path)
        unfinished.pop_all()  # what has the hidden name from now on is another's
        sync_folder(path.parent)
    return stage.whole.size


def check_form(base: Section, chain: Sequence[DeltaFile], path: str) -> None:
    """OutputError where a path's ending tells another container than the file has that a chain ends with.

    Reads what that file begins with; a name that tells no container is never wrong.
    Fails   CheckpointError too, if the base's file is seen to be another than the one that the chain starts from
    """
    with _opened(base, chain) as (_, stage):
        found = _container(stage.rest(0, min(_HEAD, stage.rest_size)), stage.whole.size)
    try:
        asked = form_of(path)
    except OutputError:
        return
    if asked == found or (found is None and asked != "folder"):
        return
    tuned = chain[-1].delta.tuned
    name = tuned.file if tuned else "its tuned file"
    place = Path(path) if Path(path).name else Path(path, name)
    here = place.with_suffix(next((end for end, form in ENDINGS.items() if form == found), ""))
    raise OutputError(
        f"{name} comes back to the byte, as {_CALLED.get(found, 'one file')}; this name asks for {_CALLED[asked]}",
        where=path,
        hint=f"-o {shell_word(here)}, and from it the weights: weightmath run -e a {shell_word(f'a={here}')} "
        f"-o {shell_word(path)}",
    )


def _container(head: bytes, size: int) -> Form | None:
    """The container of a file that begins with these bytes, as endings tell it; None where it is not known."""
    if is_safetensors(head, size):  # whose first byte, of its header's length, may be that of a pickle
        return "safetensors"
    # Torch's old format, a pickle, has the endings of its new one.
    return "torch zip" if head.startswith((b"PK\3\4", b"\x80")) else None


@contextmanager
def _opened(base: Section, chain: Sequence[DeltaFile]) -> Iterator[tuple[Reader, DeltaStage]]:
    """The base's file, and what a chain makes of it, ready to be read."""
    with ExitStack() as stack:
        reader = stack.enter_context(base.checkpoint.open())
        stage: Stage = FileStage(reader)
        for file in chain:
            stage = DeltaStage(stage, stack.enter_context(DeltaReader(file)))
        assert isinstance(stage, DeltaStage)
        yield reader, stage


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
    regions = [(*span, record.entry) for span, record in zip(spans, records, strict=True)]
    rest = [(*gap, None) for gap in gaps(spans, stage.whole.size)]
    done = 0
    for start, stop, entry in sorted([*rest, *regions], key=lambda place: place[:2]):
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
