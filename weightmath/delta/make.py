"""Makes a delta file of a base and a fine-tune."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from weightmath.checkpoint import Section
from weightmath.delta.attempts import Numbers, best_attempt, relative
from weightmath.delta.bits import best_way, expected, pack, sample_of
from weightmath.delta.description import Delta, Record
from weightmath.delta.difference import Difference, Pair, pairs_of
from weightmath.delta.options import Options
from weightmath.delta.pieces import Piece, in_order, pieces_of
from weightmath.delta.sides import BY, check_no_delta, side_of
from weightmath.delta.whole_file import make_whole
from weightmath.delta.writing import DeltaWriter
from weightmath.layout import Entry


def make(
    base: Section,
    tuned: Section,
    path: str | Path,
    options: Options = Options(),  # noqa: B008 - frozen
    *,
    keep: Literal["all", "weights"] = "all",
    fit: bool = False,
    name: str | None = None,
    threads: int = 2,
    force: bool = False,
) -> Delta:
    """Write what leads from a base to a fine-tune; returns what the file says of itself.

    Parameters
        options   the kind and its parameters; exact by default
        keep      of exact deltas: "all" gives the tuned file back to the byte, with all that is in it; "weights" the
                  tuned section's tensors, bit for bit, inside the base's file
        fit       where one side lacks tensors or rows: compare what both have. Exact deltas of whole files need it not
        name      the tuned file's, for messages; None: its own
        threads   that compress
        force     replace a file of that name
    Other kinds hold float32 numbers of the section's floats; its integers, where they differ, are kept bit for bit.
    Memory: a few pieces of 4 MB per thread; of low-rank ones the largest matrix, in float64, several times.
    Fails with LayoutError where tensors differ by name or shape, NumericError where a difference is not finite,
    CheckpointError and OutputError for files; a side that is a delta file itself is a CheckpointError too.
    """
    check_no_delta(base)
    check_no_delta(tuned)
    if options.kind == "exact" and keep == "all":
        return make_whole(base, tuned, path, name=name, threads=threads, force=force)
    pairs = pairs_of(base, tuned, fit=fit)
    with ExitStack() as stack:
        readers = [stack.enter_context(side.checkpoint.open()) for side in (base, tuned)]
        source = Difference(readers[0], readers[1])
        inputs = [file for side in (base, tuned) for file in side.checkpoint.files]
        writer = stack.enter_context(DeltaWriter(path, [pair.entry for pair in pairs], inputs, force=force))
        records = [
            exact_record(writer, pair.entry, partial(_exact_bits, source, pair), threads)
            if options.kind == "exact" or not _is_number(pair)
            else number_record(writer, pair.entry, partial(source.pieces, pair, threads), options, threads)
            for pair in pairs
        ]
        sides = side_of(base, threads), side_of(tuned, threads, name)
        for reader in readers:
            reader.check_unchanged()
        delta = described(records, options, Delta(options.kind, options.given(), *sides, None, BY, {}))
        writer.finish(delta)
    return delta


def described(records: Sequence[Record], options: Options, delta: Delta) -> Delta:
    """The delta with its records and the error over all of them."""
    squares = [((record.error or 0.0) * (record.norm or 0.0)) ** 2 for record in records]
    norms = [(record.norm or 0.0) ** 2 for record in records]
    error = None if options.kind == "exact" else relative(sum(squares), sum(norms))
    return replace(delta, records={record.entry.name: record for record in records}, error=error)


def _is_number(pair: Pair) -> bool:
    return pair.base.entry.dtype.is_float and pair.tuned.entry.dtype.is_float


def number_record(writer: DeltaWriter, entry: Entry, numbers: Numbers, options: Options, threads: int) -> Record:
    """Encode a tensor's numbers into the file."""
    attempt = best_attempt(entry, numbers, options, threads)
    pieces = [(writer.add(piece.content), piece.error, piece.norm) for piece in attempt.pieces()]
    sizes = tuple(size for size, _, _ in pieces)
    error, norm = sum(piece[1] for piece in pieces), sum(piece[2] for piece in pieces)
    record = replace(attempt.record, sizes=sizes, error=relative(error, norm), norm=math.sqrt(norm))
    shown = entry._replace(dtype=record.stored) if record.encoder == "dense" and record.stored else None
    writer.close_tensor(entry.name, sum(record.sizes), shown)
    return record


def _exact_bits(source: Difference, pair: Pair, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    base, tuned = source.bits(pair, start, stop)
    return tuned, expected(base, pair.base.entry.dtype, pair.entry.dtype, stop - start)


def exact_record(
    writer: DeltaWriter, entry: Entry, bits: Callable[[int, int], tuple[np.ndarray, np.ndarray]], threads: int
) -> Record:
    """Encode a tensor's bits into the file.

    bits    of elements [start, stop): those of the tuned tensor, and those that its base's let one expect
    """
    way = best_way(*bits(*sample_of(entry)))

    def work(piece: Piece) -> bytes:
        tuned, known = bits(piece.start, piece.stop)
        return b"" if np.array_equal(tuned.view(known.dtype), known) else pack(tuned, known, way)

    sizes = tuple(writer.add(content) for content in in_order(work, pieces_of(entry), threads))
    writer.close_tensor(entry.name, sum(sizes))
    return Record(entry, way, sizes)
