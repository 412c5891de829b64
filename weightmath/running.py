"""The straight line: recipe text -> Recipe -> graph -> Plan -> execute -> writer -> one new checkpoint.

`weightmath.job` goes as far as headers allow; `run` does the work of a job, and publishes outputs only when all are
complete and every `expect` holds. Together they are all that knows every stage.
"""

from __future__ import annotations

import re
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from weightmath import recipe
from weightmath.encoding import check_encoded, encode
from weightmath.engine.cost import bytes_read
from weightmath.engine.execute import Results, Settings, execute
from weightmath.engine.memory import settings_for
from weightmath.engine.meter import Meter, Told, silent
from weightmath.files.attempt import Attempt, Nothing, check_nobody_writes, published_before
from weightmath.files.identity import identity
from weightmath.files.inputs import CheckpointSource, open_readers, sources_of
from weightmath.files.outputs import CheckpointSink, Save, check_targets
from weightmath.job import Job
from weightmath.paused import paused_collection
from weightmath.provenance.watching import Watch
from weightmath.questions import Answers, answers, claims_of
from weightmath.recipe import Recipe
from weightmath.verdicts import check_claims, check_finite, without_base, without_effect

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, repr=False)
class Report:
    """What a run did; it is shown in a line, as its job holds all of every input's headers."""

    job: Job
    results: Results
    answers: Answers
    seconds: float
    peak_bytes: int
    warnings: tuple[str, ...]
    integers: Mapping[str, str] = field(default_factory=dict)  # tensors where inputs disagreed, and what was done
    resumed: bool = False  # whether it went on where an earlier run was stopped

    def __repr__(self) -> str:
        changes = {save.target: self.results.outcomes[save.name].tensors.values() for save in self.job.saves}
        told = [f"{path}: {sum(c.changed > 0 for c in all_)} of {len(all_)} changed" for path, all_ in changes.items()]
        warned = [f"warning: {text}" for text in self.warnings]
        return f"<{'; '.join([*told, f'{self.seconds:.2f} s', *warned])}>"


def check_start(job: Job, *, threads: int | None = None, memory: int | None = None, force: bool = False) -> Settings:
    """What `run` refuses before any work: outputs that cannot be written, and a memory budget that is too small.

    Takes what `run` takes; returns the settings that it would work with. Fails with OutputError and MemoryBudgetError.
    """
    settings = settings_for(job.plan, threads, memory)
    check_nobody_writes(job.saves)
    ours = published_before(lambda: _which(job, settings), job.saves)
    check_targets(job.saves, job.checkpoints, force=force, ours=ours)
    check_encoded(job.saves, job.checkpoints, force=force, ours=ours)
    return settings


def _which(job: Job, settings: Settings) -> dict[str, Any]:
    return identity(job.recipe, job.inputs, job.plan, job.saves, settings.chunk)


@paused_collection()
def run(
    job: Job,
    *,
    threads: int | None = None,
    memory: int | None = None,
    force: bool = False,
    durable: bool = True,
    progress: Told = silent,
) -> Report:
    """Do the work of a job, or what is left of it where the same run was stopped before it was through.

    Parameters
        threads   worker threads; None: as many as there are processors, at most 8; of more than 8, at most two for
                  each processor are started
        memory    bytes that the work may take; None: as planned
        force     replace outputs that exist
        durable   wait until outputs are on the disk; not for those that are read once and removed
        progress  told bytes done and bytes in all, from any thread
    Fails with OutputError before the work if an output cannot be written; ExpectError before the work where a pinned
    file is another; NumericError for NaN and infinities in an output; ExpectError where an expectation does not hold or
    a pinned vector is another; CheckpointError where an input changes; DiskError where the disk is full or fails. In
    each case no output appears. After a DiskError, or an interrupt, the same run goes on from there.

    Meanwhile Python's cyclic garbage collector pauses, in all threads of the process.
    """
    started = time.monotonic()
    settings = check_start(job, threads=threads, memory=memory, force=force)
    job.pins.check_files()
    with ExitStack() as stack:
        readers = stack.enter_context(open_readers(job.checkpoints))
        attempt: Attempt | Nothing = Nothing()
        if job.saves:
            which = _which(job, settings)
            attempt = stack.enter_context(Attempt(which, job.saves, job.checkpoints, force=force, durable=durable))
        watch = Watch(job.inputs, job.saves) if job.needs_fingerprints else None
        make_source, make_sink = (watch.source, watch.sink) if watch else (CheckpointSource, CheckpointSink)
        sinks = {
            save.name: make_sink(save, writer, readers[save.template.checkpoint.path])
            for save, writer in zip(job.saves, attempt.writers, strict=True)
        }
        sources = sources_of(job.plan.nodes, readers, make_source)
        counted = job.integers.merge(readers, sinks)
        meter = Meter(bytes_read(job.plan) + sum(save.image.size for save in job.saves), progress)
        results = execute(job.plan, sources, sinks, settings, meter, attempt.journal, told=_judge(job))
        marks = watch.inputs(readers, settings.threads) if watch else {}
        job.pins.check_vectors(marks)
        check_finite(job.recipe, job.inputs, results)
        found = answers(job.built, results.watched)
        check_claims(job.recipe, enumerate(found.claims))
        for sink in sinks.values():
            sink.check_tied()
        if watch and job.records:
            writers = {save.name: writer for save, writer in zip(job.saves, attempt.writers, strict=True)}
            for name, own in watch.outputs(readers, writers, settings.threads).items():
                writers[name].settle(job.records[name].settled(own, marks))
        for reader in readers.values():
            reader.check_unchanged()
        attempt.publish(lambda save: encode(save, settings.threads, record=_record_of(job, save, marks)))
    seconds = time.monotonic() - started
    over = [f"an earlier run was stopped, and this one started over: {reason}" for reason in attempt.reasons]
    strange = without_base(job.inputs, marks.values()) if watch else []
    warnings = (*job.warnings, *over, *strange, *without_effect(job.recipe, job.built, job.saves, results))
    return Report(job, results, found, seconds, _peak() + results.beside, warnings, counted, attempt.resumed)


def _record_of(job: Job, save: Save, marks: Mapping[str, str]) -> Callable[[str], str] | None:
    """The provenance record of an output as text, by its own fingerprint; None where it carries none."""
    record = job.records.get(save.name)
    return None if record is None else partial(record.text, inputs=marks)


def _judge(job: Job) -> Callable[[Mapping[int, Any]], None]:
    """Fails with ExpectError as soon as a claim is known not to hold: before a later pass writes what nobody keeps."""
    return lambda values: check_claims(job.recipe, claims_of(job.built, values))


def _peak() -> int:
    """The most bytes that this process has held."""
    # Linux counts the process that started this one among what getrusage tells, and not here.
    found = re.search(r"VmHWM:\s*(\d+) kB", _STATUS.read_text()) if _STATUS.exists() else None
    return 1024 * (int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def load(
    path: str | Path, *, sets: Sequence[str] = (), inputs: Sequence[str] = (), outputs: Sequence[str] = ()
) -> Recipe:
    """A recipe from a file, with what the command line changes."""
    return recipe.with_overrides(recipe.load(path), sets=sets, inputs=inputs, outputs=outputs)
