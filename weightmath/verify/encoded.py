"""Verifies an output that is a delta file: it is made again, encoded too, and both are compared as numbers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from weightmath.checkpoint import Checkpoint, Reader, open_checkpoint
from weightmath.checkpoint.lock import hidden
from weightmath.delta.as_input import as_checkpoint
from weightmath.delta.pieces import pieces_of
from weightmath.engine.meter import Told
from weightmath.files.outputs import Save
from weightmath.job import Job
from weightmath.layout import Entry
from weightmath.running import run
from weightmath.verify.comparison import Difference


def compare_again(
    job: Job, save: Save, checkpoint: Checkpoint, threads: int, progress: Told
) -> tuple[tuple[Difference, ...], int]:
    """What differs between a delta file's numbers and those of the file that the job makes in a temporary folder.

    Returns also how many times that read the inputs.

    job         of this output alone; checkpoint   the delta file's numbers, as an input
    """
    assert save.encoding is not None
    with tempfile.TemporaryDirectory(prefix="weightmath-verify-") as folder:
        path = Path(folder) / "again.delta"
        there = replace(save, path=hidden(path, "dense"), encoding=save.encoding._replace(path=path))
        report = run(replace(job, saves=(there,), records={}), threads=threads, progress=progress)
        expected = as_checkpoint(open_checkpoint(path))
        with expected.open() as one, checkpoint.open() as other:
            found = sorted(_differences(one, other), key=lambda found: found.tensor)
    return tuple(found), report.results.reads


def _differences(expected: Reader, found: Reader) -> Iterator[Difference]:
    entries, others = (
        {tensor.entry.name: tensor.entry for tensor in reader.checkpoint.tensors} for reader in (expected, found)
    )
    yield from (Difference(name, "extra") for name in others if name not in entries)
    for name, entry in entries.items():
        if name not in others:
            yield Difference(name, "missing")
        elif others[name].shape != entry.shape:
            yield Difference(name, f"has shape {list(others[name].shape)}, not {list(entry.shape)}")
        else:
            yield from _unequal(expected, found, entry)


def _unequal(expected: Reader, found: Reader, entry: Entry) -> Iterator[Difference]:
    """Where the bits of a tensor differ, as one difference."""
    count, first = 0, -1
    numbers = (0.0, 0.0)
    for piece in pieces_of(entry):
        pair = [
            reader.bits(reader.checkpoint.section("").tensors[entry.name], piece.start, piece.stop)
            for reader in (expected, found)
        ]
        places = np.flatnonzero(pair[0].view(np.uint32) != pair[1].view(np.uint32))
        if len(places) and not count:
            first = piece.start + int(places[0])
            numbers = float(pair[0][places[0]]), float(pair[1][places[0]])
        count += len(places)
    if count:
        yield Difference(entry.name, "values", count, first, *numbers)
