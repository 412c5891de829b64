"""Seconds of a run from what it does: so much of each kind of work, at the machine's rate.

    seconds = start + tensors + (other work of one thread) * (1 - shared + shared / threads) + flush

What each tensor takes, most of it before and after the passes, is not shared. Models that are too small for helpers
count as the work of one thread. Start is the interpreter and its imports. What the page cache does not hold of an input
comes from the disk at the disk's rate, beside the arithmetic; so does all of it in later passes, where the inputs are
larger than memory. Flushing the output to the disk comes last.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from weightmath.engine import cost
from weightmath.engine.execute import WORTH_HELPERS
from weightmath.job import Job
from weightmath.provenance.watching import bytes_beside
from weightmath.speed.machine import Machine

_LOOKS = 64  # places of a file that are looked up in the page cache
_OF_MEMORY = 0.8  # what of memory files can keep


@dataclass(frozen=True)
class Estimate:
    """Seconds, and what they are spent on.

    start       interpreter, imports, and what every run takes besides
    files       reading and writing bytes that the page cache holds, checksums and fingerprints, and per tensor
    arithmetic  conversions, formulas, statistics, selections, random numbers
    disk        waiting for bytes that the page cache does not hold, beyond what the work takes meanwhile
    flush       until the outputs are on the disk
    """

    start: float
    files: float
    arithmetic: float
    disk: float
    flush: float

    @property
    def seconds(self) -> float:
        """All of them."""
        return self.start + self.files + self.arithmetic + self.disk + self.flush


class Moved(NamedTuple):
    """Bytes that a run moves.

    read          in all passes, for copies from templates, and for identity
    for_identity  of tensors that only fingerprints need, and of files whose sha256 is pinned
    written       sizes of all outputs
    """

    read: int
    for_identity: int
    written: int


def moved(job: Job) -> Moved:
    """What a run of the job moves."""
    copies = sum(copy.size for save in job.saves for copy in save.image.copies)
    for_identity = job.pins.bytes + (bytes_beside(job.inputs, job.plan) if job.needs_fingerprints else 0)
    read = cost.bytes_read(job.plan) + copies + for_identity
    return Moved(read, for_identity, sum(save.image.size for save in job.saves))


def estimate(job: Job, moved: Moved, threads: int, machine: Machine) -> Estimate:
    """The estimate for a job. Looks up what of its files the page cache holds, and reads none of them."""
    done = work(job, moved)
    shared = machine.shared if job.plan.layout.size >= WORTH_HELPERS else 0
    sharing = 1 - shared + shared / min(threads, os.cpu_count() or 1)
    taken = {kind: amount * machine.of(kind) for kind, amount in done.items()}
    alone = taken.pop("run")
    flush = taken.pop("byte flushed")
    tensors, files = (sum(taken.pop(kind, 0.0) for kind in kinds) for kinds in (_TENSORS, _FILES))
    arithmetic = sum(taken.values())
    from_disk = machine.of("byte cold") * _cold_bytes(job, moved.read)
    return Estimate(
        start=machine.of("start") + alone,
        files=tensors + files * sharing,
        arithmetic=arithmetic * sharing,
        disk=max(0.0, from_disk - (files + arithmetic) * sharing),
        flush=flush,
    )


_TENSORS = ("tensor read", "tensor written")
_FILES = ("byte read", "byte written", "tensor group")


def work(job: Job, moved: Moved) -> dict[str, float]:
    """How much a run does of each kind: `operations`, and

    byte read, byte written, byte flushed   of all passes, copies and fingerprints
    run                                     1: what a run takes besides
    """
    counted = {"byte read": moved.read, "byte written": moved.written, "byte flushed": moved.written, "run": 1}
    return {**counted, **cost.operations(job.plan)}


def _cold_bytes(job: Job, read: float) -> float:
    """Bytes that will come from the disk: what the page cache lacks now, and later readings of what it cannot keep."""
    files = {file for checkpoint in job.checkpoints for file in checkpoint.files}
    sizes = {file: os.stat(file).st_size for file in files}
    lacking = sum(size * (1 - cached_share(file)) for file, size in sizes.items())
    whole = sum(sizes.values())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    later = max(0.0, read - whole) if whole > _OF_MEMORY * memory else 0.0
    return lacking + later


def cached_share(path: str | Path) -> float:
    """The share of a file that the page cache holds, from pages at 64 places; 1 where the system does not tell."""
    mincore = getattr(ctypes.CDLL(None), "mincore", None)
    size = os.stat(path).st_size
    if mincore is None or size == 0:
        return 1.0
    places = {size * i // _LOOKS // mmap.PAGESIZE * mmap.PAGESIZE for i in range(_LOOKS)}
    with Path(path).open("rb") as file:
        return sum(_is_cached(file.fileno(), place, size, mincore) for place in places) / len(places)


def _is_cached(file: int, place: int, size: int, mincore: Callable[..., int]) -> bool:
    """Asks without reading: even a read that does not wait would make the system fetch the page."""
    length = min(mmap.PAGESIZE, size - place)
    with mmap.mmap(file, length, access=mmap.ACCESS_COPY, offset=place) as page:
        start, found = ctypes.c_char.from_buffer(page), ctypes.c_ubyte()
        failed = mincore(ctypes.byref(start), ctypes.c_size_t(length), ctypes.byref(found))
        del start  # a page that is looked at cannot be closed
    return bool(failed or found.value & 1)
