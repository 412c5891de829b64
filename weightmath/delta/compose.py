"""Makes one delta of two that follow each other: base to v1 and v1 to v2 become base to v2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from weightmath.checkpoint import Reader, Section, open_checkpoint
from weightmath.checkpoint.lock import hidden
from weightmath.delta.apply import Sum, sources_of
from weightmath.delta.container import DeltaFile
from weightmath.delta.decoding import DeltaReader
from weightmath.delta.description import Delta, Record
from weightmath.delta.exact import Link, Stack
from weightmath.delta.make import described, exact_record, make, number_record
from weightmath.delta.options import Options
from weightmath.delta.pieces import pieces_of
from weightmath.delta.restore import restore
from weightmath.delta.sides import BY
from weightmath.delta.writing import DeltaWriter
from weightmath.errors import LayoutError, RecipeError
from weightmath.layout import Entry


def compose(
    first: DeltaFile,
    second: DeltaFile,
    path: str | Path,
    options: Options | None = None,
    *,
    base: Section | None = None,
    threads: int = 2,
    force: bool = False,
) -> Delta:
    """Write the sum of two deltas; of exact ones the delta that leads where the second leads.

    Deltas of numbers keep integers (counters of batch normalisations) bit for bit. Those become what applying both
    makes of them: the value of the later delta that has the tensor holds.

    Parameters
        options   the kind that is made; None: exact of exact ones, sparse where both are sparse, else dense
        base      needed where bits are seen from it: for exact deltas, and for those of numbers that keep integers.
                  Of exact ones the file in between lies on the disk meanwhile, beside the output
    Fails with LayoutError unless the second delta's base is the first one's tuned checkpoint, or the same base;
    RecipeError where an exact delta is wanted of numbers.
    """
    _check_follows(first, second)
    if first.delta.kind == second.delta.kind == "exact":
        return _exact(first, second, Path(path), options or Options(), base, threads, force)
    if options is not None and options.kind == "exact":
        raise RecipeError("numbers that are added give no exact delta", where=str(path), hint="--as dense")
    for file in (first, second):
        if file.delta.kind == "exact":
            raise LayoutError(
                "is exact and the other one is not: bits and numbers are not added",
                where=str(file.path),
                hint="apply both in one pass: weightmath delta apply BASE A B -o OUT",
            )
        exact = [name for name, record in file.delta.records.items() if record.is_exact]
        if exact and base is None:
            fact = f"keeps `{exact[0]}` bit for bit, as seen from its base"
            raise LayoutError(fact, where=str(file.path), hint="--base BASE")
    return _numbers(first, second, Path(path), options, base, threads, force)


def _check_follows(first: DeltaFile, second: DeltaFile) -> None:
    led_to = first.delta.tuned.fingerprint if first.delta.tuned else None
    is_exact = first.delta.kind == second.delta.kind == "exact"
    allowed = {led_to} if is_exact else {led_to, first.delta.base.fingerprint}
    wanted = second.delta.base.fingerprint
    if wanted not in allowed - {None}:
        raise LayoutError(
            f"its base is {second.delta.base.file} ({wanted}), and {first.path.name} leads from "
            f"{first.delta.base.file} ({first.delta.base.fingerprint}) to {led_to}",
            where=str(second.path),
            hint="give them in the order in which they follow each other",
        )


def _exact(
    first: DeltaFile, second: DeltaFile, path: Path, options: Options, base: Section | None, threads: int, force: bool
) -> Delta:
    if base is None:
        raise LayoutError("exact deltas are composed with their base at hand", hint="--base BASE")
    if first.delta.whole is None or second.delta.whole is None:
        raise LayoutError("exact deltas of weights alone cannot be composed", hint="apply both in one pass")
    sources_of(base, [first, second], any_base=False, threads=threads)
    between = hidden(path, "between")
    try:
        restore(base, [first, second], between, threads=threads, force=True)
        tuned = second.delta.tuned
        section = open_checkpoint(between).section(tuned.section if tuned else None)
        delta = make(base, section, path, options, threads=threads, force=force, name=tuned.file if tuned else None)
    finally:
        between.unlink(missing_ok=True)
    return delta


def _numbers(
    first: DeltaFile,
    second: DeltaFile,
    path: Path,
    options: Options | None,
    base: Section | None,
    threads: int,
    force: bool,
) -> Delta:
    entries = {name: record.entry for file in (second, first) for name, record in file.delta.records.items()}
    _check_shapes(first, second)
    sparse = all(file.delta.kind == "sparse" for file in (first, second))
    wish = options or Options("sparse" if sparse else "dense")
    with ExitStack() as stack:
        readers = [stack.enter_context(DeltaReader(file)) for file in (first, second)]
        opened = stack.enter_context(base.checkpoint.open()) if base else None
        applied = _applied(base, opened, readers, threads) if base and opened else None
        inputs = [*(file.path for file in (first, second)), *(base.checkpoint.files if base else ())]
        writer = stack.enter_context(DeltaWriter(path, list(entries.values()), inputs, force=force))
        exact = {name for file in (first, second) for name, record in file.delta.records.items() if record.is_exact}
        records: list[Record] = [
            exact_record(writer, entry._replace(dtype=applied.dtype(name)), partial(applied.seen, name), threads)
            if applied and name in exact
            else number_record(writer, entry, partial(_summed, readers, entry), wish, threads)
            for name, entry in entries.items()
        ]
        for reader in readers:
            reader.check_unchanged()
        if opened:
            opened.check_unchanged()
        follows = first.delta.tuned is not None and second.delta.base.fingerprint == first.delta.tuned.fingerprint
        tuned = second.delta.tuned if follows else None
        about = replace(second.delta, kind=wish.kind, options=wish.given(), base=first.delta.base, tuned=tuned, by=BY)
        delta = described(records, wish, replace(about, whole=None))
        writer.finish(delta)
    return delta


def _applied(base: Section, opened: Reader, readers: list[DeltaReader], threads: int) -> Sum:
    """What applying the deltas makes of the base's tensors; LayoutError for another base than theirs."""
    sources = sources_of(base, [reader.file for reader in readers], any_base=False, threads=threads)
    links = [Link(reader, 1.0, source) for reader, source in zip(readers, sources, strict=True)]
    return Sum(base, Stack(base, opened, links))


def _check_shapes(first: DeltaFile, second: DeltaFile) -> None:
    for name, record in first.delta.records.items():
        other = second.delta.records.get(name)
        if other is not None and other.entry.shape != record.entry.shape:
            fact = f"`{name}` is {list(record.entry.shape)} in {first.path.name}, and {list(other.entry.shape)} here"
            raise LayoutError(fact, where=str(second.path))


def _summed(readers: list[DeltaReader], entry: Entry) -> Iterator[np.ndarray]:
    """The sum of a tensor's numbers in several deltas, piece by piece."""
    holding = [reader for reader in readers if entry.name in reader.file.delta.records]
    for piece in pieces_of(entry):
        parts = [reader.values(entry.name, piece.start, piece.stop) for reader in holding]
        yield parts[0] if len(parts) == 1 else parts[0] + parts[1]
