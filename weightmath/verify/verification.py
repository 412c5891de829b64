"""Computes an output again and compares it, all of it or a sample of tiles.

A seed chooses the sample, among the tiles of all tensors alike. Statistics that reach beyond a tensor (of a layer, of
the whole model) still need their passes over all that they run over; those of a tensor need that tensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from weightmath.checkpoint import Checkpoint, Section, open_checkpoint
from weightmath.delta.as_input import as_checkpoint
from weightmath.delta.mark import is_delta
from weightmath.engine.cost import bytes_read
from weightmath.engine.execute import Settings, execute
from weightmath.engine.memory import settings_for
from weightmath.engine.meter import Meter, Told, silent
from weightmath.engine.plan import Plan, make_plan
from weightmath.errors import RecipeError
from weightmath.files.inputs import CheckpointSource, reading, sources_of
from weightmath.files.outputs import Save
from weightmath.fingerprint import fingerprint
from weightmath.job import Job, prepare
from weightmath.provenance.lineage import provenance_of
from weightmath.provenance.record import Record
from weightmath.provenance.watching import Watch
from weightmath.scope import tile_count
from weightmath.verify.again import output_of, recipe_again
from weightmath.verify.comparison import Comparison, Difference
from weightmath.verify.encoded import compare_again


@dataclass(frozen=True)
class Sample:
    """Numbers of the tiles that are compared.

    computed  by entry of the plan
    copied    of tensors that are the template's, by name in the file
    among     how many tiles there are
    """

    computed: Mapping[int, Sequence[int]]
    copied: Mapping[str, Sequence[int]]
    among: int

    @property
    def size(self) -> int:
        """How many tiles are compared."""
        return sum(len(numbers) for numbers in (*self.computed.values(), *self.copied.values()))


@dataclass(frozen=True)
class Verification:
    """What came of it.

    differences   tensors that are not as the recipe makes them, in the order of names
    tensors       how many the output should have, and `elements` how many elements were compared
    sample        what was compared; None: all of it
    other_inputs  inputs that are not what the record says, with the fingerprints of both; {} for a sample
    is_untouched  whether the checkpoint still is what its record says; None without a record, or where nothing differs
    reads         how many times the inputs were read
    """

    checkpoint: Checkpoint
    job: Job
    differences: tuple[Difference, ...]
    tensors: int
    elements: int
    sample: Sample | None
    other_inputs: Mapping[str, tuple[str, str]]
    is_untouched: bool | None
    reads: int


def verify(
    path: Path,
    *,
    recipe: Path | None = None,
    sets: Sequence[str] = (),
    inputs: Sequence[str] = (),
    share: float | None = None,
    seed: int = 0,
    threads: int | None = None,
    memory: int | None = None,
    progress: Told = silent,
) -> Verification:
    """Compute a checkpoint again and compare it bit for bit.

    Parameters
        recipe           what made it; None: what it carries
        sets, inputs     what the command line changes in the recipe: `name=value`, `name=PATH`
        share            of the tiles, in (0, 1], which is compared; None: all are
        seed             chooses the sample
        threads, memory, progress  as for `run`
    Fails with CheckpointError, RecipeError and whatever `prepare` refuses, before the work; CheckpointError where a
    file changes meanwhile.
    """
    checkpoint = open_checkpoint(path)
    if is_delta(checkpoint):
        checkpoint = as_checkpoint(checkpoint)
    history = provenance_of(checkpoint)
    record = None if history is None else history.record
    again = recipe_again(checkpoint, record, recipe, sets, inputs)
    name = output_of(again, checkpoint, record)
    whole = prepare(again)
    save = next(save for save in whole.saves if save.name == name)
    job = replace(whole, plan=_plan_of_one(whole.plan, name), saves=(save,))
    settings = settings_for(job.plan, threads, memory)
    if save.encoding is not None and share is not None:
        raise RecipeError("a delta file is encoded as a whole, and no sample of it can be made", where="--sample")
    sample = None if share is None else _sample(save, job.plan, share, seed)
    marked = record is not None and sample is None
    if save.encoding is None:
        found = _compare_tensors(checkpoint, job, sample, settings, progress, marked=marked)
    else:
        found = _compare_delta(checkpoint, job, settings, progress, marked=marked)
    return Verification(
        checkpoint=checkpoint,
        job=job,
        differences=found.differences,
        tensors=found.tensors,
        elements=found.elements,
        sample=sample,
        other_inputs={} if record is None else _others(found.marks, record),
        is_untouched=_is_untouched(found.section, record, settings.threads) if found.differences and record else None,
        reads=found.reads,
    )


class _Compared(NamedTuple):
    """What a comparison found, in which section; `marks` are the fingerprints of the inputs, if they were taken."""

    differences: tuple[Difference, ...]
    section: Section
    tensors: int
    elements: int
    marks: Mapping[str, str]
    reads: int


def _compare_tensors(
    checkpoint: Checkpoint, job: Job, sample: Sample | None, settings: Settings, progress: Told, *, marked: bool
) -> _Compared:
    """Compare a checkpoint's tensors, all of them or a sample, with what a job of this output alone makes."""
    (save,) = job.saves
    with reading([checkpoint, *job.checkpoints]) as readers:
        watch = Watch(job.inputs, ()) if marked else None
        comparison = Comparison(
            save,
            readers[save.template.checkpoint.path],
            _section(checkpoint, save),
            readers[checkpoint.path],
            None if sample is None else sample.copied,
        )
        sources = sources_of(job.plan.nodes, readers, watch.source if watch else CheckpointSource)
        job.integers.merge(readers, {save.name: comparison})
        only = None if sample is None else sample.computed
        meter = Meter(bytes_read(job.plan) + save.image.size, progress)
        results = execute(job.plan, sources, {save.name: comparison}, settings, meter, only=only)
        marks = watch.inputs(readers, settings.threads) if watch else {}
    tensors = len(save.originals) + len(save.copied)
    return _Compared(comparison.differences, comparison.section, tensors, comparison.elements, marks, results.reads)


def _compare_delta(checkpoint: Checkpoint, job: Job, settings: Settings, progress: Told, *, marked: bool) -> _Compared:
    """The same of an output that is a delta file, which is made again as a whole."""
    (save,) = job.saves
    found, reads = compare_again(job, save, checkpoint, settings.threads, progress)
    inputs = job.inputs if marked else {}
    marks = {name: fingerprint(one.section, one.prefix, threads=settings.threads) for name, one in inputs.items()}
    section = checkpoint.section("")
    return _Compared(found, section, len(section.tensors), section.elements, marks, reads)


def _plan_of_one(plan: Plan, name: str) -> Plan:
    """The plan of one output alone, in the layout and the order of work of all."""
    outputs = tuple(output for output in plan.request.outputs if output.name == name)
    return make_plan(replace(plan.request, outputs=outputs))


def _sample(save: Save, plan: Plan, share: float, seed: int) -> Sample:
    """Tiles of all tensors alike, at least one."""
    (output,) = plan.request.outputs
    there = plan.facts.present[output.value]
    computed = [number for number, name in enumerate(plan.layout.names) if there[number] and name in save.originals]
    entries = [plan.layout.entries[number] for number in computed]
    entries += [save.template.section.tensors[name].entry for name in save.copied]
    places = [(place, number) for place, entry in enumerate(entries) for number in range(tile_count(entry))]
    count = min(len(places), max(1, round(len(places) * share)))
    chosen: dict[int, list[int]] = {}
    for index in sorted(np.random.default_rng(seed).choice(len(places), count, replace=False)):
        place, number = places[index]
        chosen.setdefault(place, []).append(number)
    return Sample(
        {computed[place]: numbers for place, numbers in chosen.items() if place < len(computed)},
        {entries[place].name: numbers for place, numbers in chosen.items() if place >= len(computed)},
        len(places),
    )


def _section(checkpoint: Checkpoint, save: Save) -> Section:
    """What is compared: the section of the template's name, or the one that holds the weights."""
    names = [section.name for section in checkpoint.sections]
    return checkpoint.section(save.template.section.name if save.template.section.name in names else None)


def _others(found: Mapping[str, str], record: Record) -> dict[str, tuple[str, str]]:
    """Inputs that are not those of the record: the recorded fingerprint and the one that was found."""
    recorded = {name: source.fingerprint for name, source in record.inputs.items()}
    return {name: (recorded[name], mark) for name, mark in found.items() if name in recorded and recorded[name] != mark}


def _is_untouched(section: Section, record: Record, threads: int) -> bool:
    return fingerprint(section, threads=threads) == record.fingerprint
