"""Outputs of a job as state dicts in memory: what a function measures, with no file in between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from weightmath.checkpoint import Copy, Elements, Reader, Writer
from weightmath.checkpoint.checksum import crc32
from weightmath.checkpoint.writer import Put
from weightmath.dtypes import DType
from weightmath.engine.execute import execute
from weightmath.engine.memory import settings_for
from weightmath.files.inputs import CheckpointSource, reading, sources_of
from weightmath.files.outputs import CheckpointSink, Save
from weightmath.job import Job
from weightmath.layout import Entry
from weightmath.provenance.watching import Watch
from weightmath.questions import Answers, answers
from weightmath.verdicts import check_claims, check_finite

States = dict[str, dict[str, Any]]


def states_of(
    job: Job, *, hold: bool = True, threads: int | None = None, memory: int | None = None
) -> tuple[States, Answers]:
    """Do the work of a job in memory: for each output its state dict, and what `show` and `expect` found.

    A state dict has what `torch.load` would find in the output's section: the names of the file, in the template's
    order, as torch tensors of their own. Without `hold` only the answers are wanted, and there are no state dicts.
    Fails as `weightmath.running.run` does, but for what concerns files.
    """
    settings = settings_for(job.plan, threads, memory)
    job.pins.check_files()
    with reading(job.checkpoints) as readers:
        watch = Watch(job.inputs, ()) if job.pins.fingerprints else None
        sources = sources_of(job.plan.nodes, readers, watch.source if watch else CheckpointSource)
        template = readers[job.template.checkpoint.path]
        held = {save.name: Held(save, hold) for save in job.saves}
        # Of a writer a sink needs, where there is no earlier run, what is held does.
        sinks = {save.name: CheckpointSink(save, cast(Writer, held[save.name]), template) for save in job.saves}
        job.integers.merge(readers, sinks)
        results = execute(job.plan, sources, sinks, settings)
        job.pins.check_vectors(watch.inputs(readers, settings.threads) if watch else {})
        check_finite(job.recipe, job.inputs, results)
        found = answers(job.built, results.watched)
        check_claims(job.recipe, enumerate(found.claims))
        for sink in sinks.values():
            sink.check_tied()
        made = {name: one.state(template) for name, one in held.items()} if hold else {}
    return made, found


class Held:
    """Stands where an output's writer would, and holds what is written in memory, or lets it go."""

    copies: Sequence[Copy | Elements] = ()  # what a file would have besides the section's tensors

    def __init__(self, save: Save, hold: bool) -> None:
        self._save = save
        tensors, image = save.template.section.tensors, save.image
        written = [name for name in save.originals.values() if hold and name not in image.aliases]
        self._bits = {name: np.empty(tensors[name].entry.size, image.dtype(name).bits) for name in written}

    def writing(self, name: str) -> Put:
        """What writes elements of a tensor, from one on, as raw bits, and returns their checksum."""
        held = self._bits.get(name)

        def write(start: int, bits: np.ndarray) -> int:
            if held is not None:
                held[start : start + len(bits)] = bits
            crc: int = crc32(bits.view(np.uint8).data)
            return crc

        return write

    def write_tensors(self, names: Sequence[str], spans: Sequence[slice], bits: np.ndarray) -> list[int]:
        """Whole tensors of one dtype, each in its span of `bits`; returns their checksums."""
        return [self.writing(name)(0, bits[span]) for name, span in zip(names, spans, strict=True)]

    def state(self, template: Reader) -> dict[str, Any]:
        """The state dict: what was written, and the tensors of the section that stay the template's."""
        found, copied = {}, frozenset(self._save.copied)
        image = self._save.image
        for name, info in self._save.template.section.tensors.items():
            target = image.aliases.get(name, name)
            if target in self._bits:
                found[name] = tensor_of(self._bits[target], info.entry, image.dtype(name))
            elif name in copied:
                found[name] = tensor_of(template.bits(info), info.entry, info.entry.dtype)
        return found


def tensor_of(bits: np.ndarray, entry: Entry, dtype: DType) -> Any:
    """Raw bits as a torch tensor of the entry's shape; they share memory."""
    import torch

    held = torch.from_numpy(bits)
    if dtype.is_float and not dtype.is_native:
        held = torch.from_numpy(bits.view(f"i{dtype.itemsize}" if dtype.itemsize > 1 else "u1"))
        held = held.view(getattr(torch, dtype.name))
    return held.reshape(entry.shape)
