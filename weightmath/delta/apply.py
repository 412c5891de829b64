"""Applies deltas to their base: one, a chain (v1 to v2 to v3) or a stack on one base, all in one pass.

Exact deltas of whole files, one after the other at scale 1, give the last file back to the byte. All else adds numbers:
base + scale * delta in float32 (float64 where the base is), rounded once to the base's dtype, inside the base's file.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from weightmath.checkpoint import Copy, Elements, Section, Writer, plan_image
from weightmath.checkpoint.ending import Form, form_of
from weightmath.delta.bits import expected
from weightmath.delta.container import DeltaFile
from weightmath.delta.decoding import DeltaReader
from weightmath.delta.exact import BASE, Link, Stack
from weightmath.delta.numbers import decode, encode
from weightmath.delta.pieces import Piece, in_order, pieces_of
from weightmath.delta.restore import check_form, restore
from weightmath.delta.sides import check_base, check_no_delta, side_of
from weightmath.dtypes import DType
from weightmath.errors import LayoutError, NumericError
from weightmath.layout import Entry


@dataclass(frozen=True)
class Applied:
    """What was written: bytes, and whether it is a tuned file to the byte, its sha256 compared."""

    path: Path
    size: int
    whole: bool


def apply(
    base: Section,
    files: Sequence[DeltaFile],
    path: str | Path,
    *,
    scales: Sequence[float] | float = 1.0,
    any_base: bool = False,
    threads: int = 2,
    force: bool = False,
) -> Applied:
    """Write the base with deltas applied in their order.

    Parameters
        path      its ending tells the container; `out/` is a folder. A tuned file that comes back as a whole has its
                  own container, which the ending, if it is one that is known, must tell
        scales    factor of every delta, or one for each; integers follow a delta at scale 1 only
        any_base  add the differences to another base with the same tensors, which says nothing about the result
    Fails with LayoutError if a delta belongs to another base, and names both fingerprints; CheckpointError for damage,
    and for a base that has the right weights in another file than an exact delta was made from; NumericError where the
    result is not finite and the base was; OutputError. No output appears then.
    """
    return plan(base, files, path, scales=scales, any_base=any_base, threads=threads).write(threads, force=force)


@dataclass(frozen=True)
class Plan:
    """An application that can be done.

    sources   for each delta, which earlier one leads to its base, or BASE
    form      the container to write; None where the tuned file comes back as a whole
    """

    base: Section
    files: Sequence[DeltaFile]
    path: str
    factors: Sequence[float]
    sources: Sequence[int]
    form: Form | None

    def write(self, threads: int = 2, *, force: bool = False) -> Applied:
        """Do it; `apply` says how that fails."""
        if self.form is None:
            size = restore(self.base, self.files, self.path, threads=threads, force=force)
            return Applied(Path(self.path), size, True)
        return _add(self, self.form, threads, force)


def plan(
    base: Section,
    files: Sequence[DeltaFile],
    path: str | Path,
    *,
    scales: Sequence[float] | float = 1.0,
    any_base: bool = False,
    threads: int = 2,
) -> Plan:
    """What `apply` would do, with all of its refusals: it reads the base's section, for the fingerprint."""
    factors = [float(scales)] * len(files) if isinstance(scales, int | float) else [float(scale) for scale in scales]
    if len(factors) != len(files):
        raise LayoutError(f"{len(factors)} scales for {len(files)} deltas", hint="give one, or one for each")
    sources = sources_of(base, files, any_base=any_base, threads=threads)
    chained = sources == list(range(-1, len(files) - 1)) and all(factor == 1 for factor in factors)
    if chained and not any_base and all(file.delta.whole for file in files):
        check_form(base, files, str(path))
        return Plan(base, files, str(path), factors, sources, None)
    return Plan(base, files, str(path), factors, sources, form_of(str(path)))


def sources_of(base: Section, files: Sequence[DeltaFile], *, any_base: bool, threads: int) -> list[int]:
    """For each delta, which earlier one leads to its base, or BASE; LayoutError where none does."""
    check_no_delta(base)
    given = side_of(base, threads)
    assert given.fingerprint is not None
    known: dict[str, int] = {given.fingerprint: BASE}
    found = []
    for number, file in enumerate(files):
        check_base(file, known, given, any_base=any_base)
        found.append(known.get(file.delta.base.fingerprint or "", BASE))
        if file.delta.tuned is not None and file.delta.tuned.fingerprint is not None:
            known.setdefault(file.delta.tuned.fingerprint, number)
    return found


def _add(plan: Plan, form: Form, threads: int, force: bool) -> Applied:
    base = plan.base
    with ExitStack() as stack:
        reader = stack.enter_context(base.checkpoint.open())
        opened = [stack.enter_context(DeltaReader(file)) for file in plan.files]
        links = [Link(*link) for link in zip(opened, plan.factors, plan.sources, strict=True)]
        summed = Sum(base, Stack(base, reader, links))
        computed = summed.changed
        dtypes = {name: summed.dtype(name) for name in computed}
        image = plan_image(base, computed, dtypes=dtypes, form=form)
        writer = stack.enter_context(Writer(image, Path(plan.path), force=force))

        def work(job: Copy | Elements | tuple[str, Piece]) -> None:
            if isinstance(job, Copy | Elements):
                writer.copy(job)
            else:
                name, piece = job
                writer.write(name, piece.start, summed.bits(name, piece.start, piece.stop))

        pieces = ((name, piece) for name in image.targets for piece in pieces_of(base.tensors[name].entry))
        for _ in in_order(work, [*writer.copies, *pieces], threads):
            pass
        reader.check_unchanged()
        for delta in opened:
            delta.check_unchanged()
        writer.commit()
        writer.publish()
    return Applied(Path(plan.path), image.size, False)


class Sum:
    """base + scale * delta + ..., by pieces of the base section's tensors."""

    def __init__(self, base: Section, stack: Stack) -> None:
        self._base, self._stack = base, stack
        names = dict.fromkeys(name for number in range(len(stack.links)) for name in self._named(number))
        lacking = [name for name in names if name not in base.tensors]
        if lacking:
            raise LayoutError(f"the base lacks `{lacking[0]}`, which a delta changes", where=str(base.checkpoint.path))
        self.changed = [name for name in base.tensors if name in names]
        self._check_shapes()

    def _named(self, number: int) -> list[str]:
        delta = self._stack.links[number].reader.file.delta
        if delta.whole is None:
            return list(delta.records)
        return [name for name in self._base.tensors if self._stack.record(number, name) is not None]

    def _check_shapes(self) -> None:
        for number, link in enumerate(self._stack.links):
            for name in self.changed:
                record, entry = self._stack.record(number, name), self._base.tensors[name].entry
                if record is not None and not _fits(record.entry, entry, link.reader.file.delta.whole is not None):
                    raise LayoutError(
                        f"`{name}` is {list(record.entry.shape)} in the delta and {list(entry.shape)} in the base",
                        where=str(link.reader.file.path),
                    )

    def dtype(self, name: str) -> DType:
        """The dtype of a tensor in the result: the base's, or that of the last exact delta at scale 1."""
        found = self._base.tensors[name].entry.dtype
        for number, link in enumerate(self._stack.links):
            record = self._stack.record(number, name)
            if record is not None and record.is_exact and link.scale == 1:
                found = record.entry.dtype
        return found

    def bits(self, name: str, start: int, stop: int) -> np.ndarray:
        """Elements [start, stop) of a tensor of the result, as raw bits."""
        stack, entry = self._stack, self._base.tensors[name].entry
        old = stack.bits(BASE, name, start, stop)
        changing = [number for number in range(len(stack.links)) if stack.record(number, name) is not None]
        exact = [number for number in changing if self._is_exact(number, name)]
        if exact == changing and self._is_chain(exact):
            found = stack.bits(exact[-1], name, start, stop) if exact else old
            return found if len(found) == len(old) else np.concatenate([found, old[len(found) :]])
        if not entry.dtype.is_float:
            at_one = [number for number in exact if stack.links[number].scale == 1]
            return stack.bits(at_one[-1], name, start, stop) if at_one else old
        return self._rounded(name, old, self._numbers(name, start, stop, old, changing))

    def seen(self, name: str, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """The same elements, and those that the base's let one expect, as an exact delta of both needs them."""
        old, new = self._base.tensors[name].entry.dtype, self.dtype(name)
        known = expected(self._stack.bits(BASE, name, start, stop), old, new, stop - start)
        return self.bits(name, start, stop), known

    def _is_exact(self, number: int, name: str) -> bool:
        record = self._stack.record(number, name)
        return record is not None and record.is_exact

    def _is_chain(self, numbers: list[int]) -> bool:
        """Whether each of these was seen from the one before, at scale 1: then the last one's bits are the result."""
        links = self._stack.links
        before = [BASE, *numbers]
        return all(links[n].scale == 1 and links[n].source == b for n, b in zip(numbers, before, strict=False))

    def _numbers(self, name: str, start: int, stop: int, old: np.ndarray, changing: list[int]) -> np.ndarray:
        stack = self._stack
        total = decode(old, self._base.tensors[name].entry.dtype).copy()
        for number in changing:
            link, record = stack.links[number], stack.record(number, name)
            assert record is not None
            last = min(stop, record.entry.size)
            if last <= start:
                continue
            if record.is_exact:
                new = decode(stack.bits(number, name, start, last), stack.dtype(number, name))
                values = new - decode(stack.bits(link.source, name, start, last), stack.dtype(link.source, name))
            else:
                values = link.reader.values(record.entry.name, start, last)
            total[: last - start] += values * total.dtype.type(link.scale)
        return total

    def _rounded(self, name: str, old: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        entry, new = self._base.tensors[name].entry, self.dtype(name)
        bits = encode(numbers, new)
        lost = ~np.isfinite(decode(bits, new)) & np.isfinite(decode(old, entry.dtype))
        if lost.any():
            fact = f"elements of `{name}` become NaN or infinite in {new}: {np.count_nonzero(lost):,}"
            raise NumericError(fact, where=str(self._base.checkpoint.path), hint="a smaller scale")
        return bits


def _fits(record: Entry, base: Entry, flat: bool) -> bool:
    """Whether a delta's tensor is the base's, or its leading rows."""
    if flat:
        return record.size == base.size
    return record.shape == base.shape or (
        len(record.shape) == len(base.shape) > 0
        and record.shape[1:] == base.shape[1:]
        and record.shape[0] <= base.shape[0]
    )
