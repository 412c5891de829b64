"""Measure a machine: time many mixtures of work, and find what a unit of each kind takes that explains the times.

Each mixture is one equation: its counted work times the unknown seconds per unit are the seconds that it took. Formulas
in memory (`probes`) tell how operations compare; runs on files tell of files, and how much more operations take there,
where reading and writing drive their arrays out of the caches: 1.4 to 2.3 times as much, by the formula, but for what
stays in registers or caches. Solved by least squares. Of several times the median counts: the least is that of a
machine at its best.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from statistics import median

import numpy as np

from weightmath import functions
from weightmath.dtypes import DTYPES
from weightmath.engine.memory import threads_of
from weightmath.job import Job, prepare
from weightmath.kernels import loops, machine
from weightmath.running import load, run
from weightmath.speed.estimate import moved, work
from weightmath.speed.machine import Machine, this_machine
from weightmath.speed.probes import Timed, memory_input, probe, probes, timed

_ROUNDS = 3
_ELEMENTS = 24_000_000  # of the models in files: larger than the caches of most processors
_MANY, _FEW = 10_000, 300  # small tensors, and elements of each
_SOME, _MORE = 240, 100_000  # tensors that have a chunk of their own, and elements of each
_SHARED = (1 << 18, 4096)  # so much that helpers and their compilers, which take 50 ms to start, hardly count
_BUFFER = 1 << 20
_ARITHMETIC = "arithmetic"
# Files beside them do not count: a decomposition works on a matrix for long, block by block, and what is fused into a
# loop of machine code works in registers.
_WITHIN_CACHES = frozenset({"svd", *(loops.OPERATIONS if machine.compiler() else ())})
_FORMULAS = (
    "model(0.9 * a)",
    "0.4 * a + 0.3 * b + 0.2 * c + 0.1 * d",
    "a + 0.5 * (b - a) * abs(c - a) / (1 + abs(b - d))",
)


def calibrate(folder: Path) -> Machine:
    """Measure this machine, and the disk that a folder lies on; writes up to 700 MB there, and removes them.

    On one thread, but for `shared`. Nothing else should run meanwhile. Fails with OSError where the folder cannot be
    written to.
    """
    start = _imports("weightmath.running")
    with tempfile.TemporaryDirectory(dir=folder) as here:
        flush, cold = _disk(Path(here))
        known = {"byte flushed": flush, "byte cold": cold, "start": start}
        in_memory = _solved(timed(list(probes()), _ROUNDS), known)
        on_files = _solved([_summed(each, in_memory) for each in _runs(Path(here))], known)
    dearer = on_files.pop(_ARITHMETIC)
    del in_memory["start of a thread"]  # which nobody asks for
    operations = {kind: seconds if kind in _WITHIN_CACHES else dearer * seconds for kind, seconds in in_memory.items()}
    return Machine({**known, **operations, **on_files}, _shared(), this_machine())


def _summed(found: Timed, in_memory: Mapping[str, float]) -> Timed:
    """A run whose operations are one kind of work: as many seconds as they would take in memory.

    Those that take no more beside files are done with.
    """
    taken = {kind: amount * in_memory[kind] for kind, amount in found.work.items() if kind in in_memory}
    alike = sum(seconds for kind, seconds in taken.items() if kind in _WITHIN_CACHES)
    others = {kind: amount for kind, amount in found.work.items() if kind not in in_memory}
    return Timed({**others, _ARITHMETIC: sum(taken.values()) - alike}, found.seconds - alike)


def _solved(found: Sequence[Timed], known: Mapping[str, float]) -> dict[str, float]:
    """Seconds per unit of each kind of work that is not known: least squares of relative errors, nothing below 0."""
    kinds = sorted({kind for one in found for kind in one.work} - known.keys())
    amounts = np.array([[one.work.get(kind, 0.0) for kind in kinds] for one in found])
    taken = np.array([one.seconds for one in found])
    left = taken - [sum(one.work.get(kind, 0.0) * each for kind, each in known.items()) for one in found]
    most = amounts.max(axis=0)  # so that all unknowns are seconds
    free, solved = np.ones(len(kinds), bool), np.zeros(len(kinds))
    while True:
        solved[free] = np.linalg.lstsq((amounts / most / taken[:, None])[:, free], left / taken)[0]
        if not (solved < 0).any():
            return dict(zip(kinds, (solved / most).tolist(), strict=True))
        # Noise has made the cheapest cost less than nothing: all others are found anew.
        free[solved.argmin()] = False
        solved[~free] = 0


def _imports(module: str) -> float:
    """Seconds of the processor that a new process takes to import a module, as commands do."""
    program = f"from weightmath.cli.loading import loading\nwith loading():\n    import {module}"
    before = _of_children()
    subprocess.run([sys.executable, "-c", program], check=True)
    return _of_children() - before


def _of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


# --- files


def _disk(folder: Path) -> tuple[float, float]:
    """Seconds per byte to flush a file to the disk, and to read it from there."""
    path = folder / "disk"
    size = 2 * _ELEMENTS
    with path.open("wb", buffering=0) as file:
        piece = os.urandom(_BUFFER)
        for _ in range(size // _BUFFER):
            file.write(piece)
        started = time.perf_counter()
        os.fsync(file.fileno())
        flush = (time.perf_counter() - started) / size
        if not hasattr(os, "posix_fadvise"):  # no way to read from the disk for certain
            return flush, 0.0
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    started = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.read(_BUFFER):
            pass
    return flush, (time.perf_counter() - started) / size


def _runs(folder: Path) -> Iterator[Timed]:
    """Runs of recipes with one input and with four.

    On small files, on ones of many small tensors, of some larger ones and of one that is as large as all of these, and
    on ones with a large tensor that is only copied, and looked at for the fingerprints: so that no arithmetic hides
    what its bytes cost. In float16, as most models are; many tensors in a `.ckpt`, where describing one takes longest.
    """
    for letter in "abcd":
        _write(folder / f"{letter}-small.safetensors", {"merged": 1})
        _write(folder / f"{letter}-many.safetensors", {f"merged.{i}": _FEW for i in range(_MANY)})
        _write(folder / f"{letter}-some.safetensors", {f"merged.{i}": _MORE for i in range(_SOME)})
        _write(folder / f"{letter}-one.safetensors", {"merged": _SOME * _MORE})
        _write(folder / f"{letter}-large.safetensors", {"merged": 1, "rest": _ELEMENTS})
        _made(folder, f"inputs: {{a: {letter}-many.safetensors}}\nsave: {{{letter}-many.ckpt: a}}\n")
    for formula in _FORMULAS:
        for name in ("small.safetensors", "many.ckpt", "some.safetensors", "one.safetensors", "large.safetensors"):
            yield _run(folder, name, formula)


def _write(path: Path, sizes: Mapping[str, int]) -> None:
    """A safetensors file of float16 tensors of so many elements each."""
    stops = [2 * size for size in accumulate(sizes.values())]
    entries = {
        name: {"dtype": "F16", "shape": [size], "data_offsets": [stop - 2 * size, stop]}
        for (name, size), stop in zip(sizes.items(), stops, strict=True)
    }
    head = json.dumps(entries).encode()
    values = np.random.default_rng(0).random(sum(sizes.values()), np.float32).astype(np.float16)
    path.write_bytes(len(head).to_bytes(8, "little") + head + values.tobytes())


def _run(folder: Path, name: str, formula: str) -> Timed:
    """The time of the processor that a recipe takes on one thread, from its text to its output."""
    letters = dict.fromkeys(re.findall(r"\b[abcd]\b", formula))
    inputs = "".join(f"  {letter}: {letter}-{name}\n" for letter in letters)
    recipe = f'inputs:\n{inputs}only: ["merged*"]\nsave:\n  out-{name}: {formula}\n'
    seconds = []
    for _ in range(_ROUNDS):
        started = time.process_time()
        job = _made(folder, recipe)
        seconds.append(time.process_time() - started)
    return Timed(work(job, moved(job)), median(seconds))


def _made(folder: Path, recipe: str) -> Job:
    """The job that makes a recipe's output in a folder, done."""
    path = folder / "recipe.yaml"
    path.write_text(recipe)
    job = prepare(load(path))
    run(job, threads=1, force=True)
    return job


def _shared() -> float:
    """The part of a formula's work that threads share, from its time on one and on as many as weightmath takes."""
    threads = threads_of(None)
    if threads == 1:
        return 1.0
    x, y = (memory_input(name, 1, DTYPES["float16"], _SHARED) for name in "xy")
    formula = probe([x + 0.5 * (y - x) * functions.abs(y) / (1 + functions.abs(x))], compared=True)
    # In turns: what else the machine does for a while then hits both.
    turns = [[formula.seconds(count, time.perf_counter) for count in (1, threads)] for _ in range(_ROUNDS)]
    left = median(together / alone for alone, together in turns)
    return float(np.clip((1 - left) / (1 - 1 / threads), 0, 1))
