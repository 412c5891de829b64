"""Fingerprints of all that a run reads and writes, taken as the bytes pass by; what no pass reads is read for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from weightmath.checkpoint import Reader, Writer
from weightmath.checkpoint.reader import Fill
from weightmath.checkpoint.writer import Put
from weightmath.engine.cost import tensors_read
from weightmath.engine.plan import Plan
from weightmath.files.inputs import CheckpointSource, Opened, Origin
from weightmath.files.outputs import CheckpointSink, Save
from weightmath.fingerprint import Digests, Read, digests_of
from weightmath.paused import paused_collection

Readers = Mapping[Path, Reader]


class Watch:
    """Makes sources and sinks that take digests of what passes through them, and fingerprints at the end.

    models   the inputs by name
    saves    the outputs
    """

    @paused_collection()
    def __init__(self, models: Mapping[str, Opened], saves: Sequence[Save]) -> None:
        self._models = models
        self._saves = {save.name: save for save in saves}
        self._inputs = {name: digests_of(opened.section, opened.prefix) for name, opened in models.items()}
        self._outputs = {name: _digests_of_output(save) for name, save in self._saves.items()}

    def source(self, origin: Origin, readers: Readers) -> CheckpointSource:
        """The engine's view of an input."""
        return _Source(origin, readers, self._inputs)

    def sink(self, save: Save, writer: Writer, template: Reader) -> CheckpointSink:
        """The engine's view of an output."""
        return _Sink(save, writer, template, self._outputs[save.name])

    def inputs(self, readers: Readers, threads: int) -> dict[str, str]:
        """The fingerprints of the inputs, by name. Reads what the passes did not."""
        for name, digests in self._inputs.items():
            opened = self._models[name]
            digests.complete(_reading(readers[opened.checkpoint.path], opened), threads)
        return {name: digests.fingerprint() for name, digests in self._inputs.items()}

    def outputs(self, readers: Readers, writers: Mapping[str, Writer], threads: int) -> dict[str, str]:
        """The fingerprints of the outputs, whose tensors are written, by name; after those of the inputs.

        Reads what was not written through a sink: by an earlier run, or copied from tensors that no input is made of.
        """
        for name, digests in self._outputs.items():
            save, writer = self._saves[name], writers[name]
            for copied in save.copied:
                digest = self._inputs[save.template.name].digest(copied)
                if digest is not None:
                    digests.adopt(copied, digest)
            from_template = _reading(readers[save.template.checkpoint.path], save.template)
            digests.complete(_written_or(writer, frozenset(save.copied), from_template), threads)
        return {name: digests.fingerprint() for name, digests in self._outputs.items()}


def bytes_beside(models: Mapping[str, Opened], plan: Plan) -> int:
    """Bytes that a run reads for the fingerprints of its inputs alone, as no pass reads them."""
    left = {
        (name, original): info.entry
        for name, opened in models.items()
        for original, info in opened.section.tensors.items()
        if original.startswith(opened.prefix)
    }
    for node, entries in tensors_read(plan).items():
        assert node.source is not None
        origin: Origin = node.source.origin
        for read in map(plan.layout.entries.__getitem__, entries):
            whole = origin.tensors[read.name].entry
            holder = origin.borrowed.get(read.name, origin.own)
            if read.shape == whole.shape:
                left.pop((holder.name, whole.name), None)
            elif (holder.name, whole.name) in left:
                # Of a tensor whose leading rows are merged, the other rows are left.
                left[holder.name, whole.name] = whole._replace(shape=(whole.size - read.size,))
    return sum(entry.nbytes for entry in left.values())


def _digests_of_output(save: Save) -> Digests:
    """For all tensors of an output's section, by their names in the file."""
    tensors = save.template.section.tensors
    computed = {name: tensors[name].entry.of_dtype(save.image.dtype(name)) for name in save.originals.values()}
    return Digests(computed | {name: tensors[name].entry for name in save.copied})


def _reading(reader: Reader, opened: Opened) -> Read:
    def read(name: str, start: int, stop: int, out: np.ndarray) -> None:
        reader.read(opened.section.tensors[name], start, stop, out)

    return read


def _written_or(writer: Writer, copied: frozenset[str], from_template: Read) -> Read:
    """Reads computed tensors back from the output, and copied ones from where they come from."""

    def read(name: str, start: int, stop: int, out: np.ndarray) -> None:
        if name in copied:
            from_template(name, start, stop, out)
        else:
            writer.read(writer.image.aliases.get(name, name), start, stop, out)

    return read


class _Source(CheckpointSource):
    def __init__(self, origin: Origin, readers: Readers, digests: Mapping[str, Digests]) -> None:
        super().__init__(origin, readers)
        self._digests = digests[origin.own.name]
        self._of_others = {name: digests[holder.name] for name, holder in origin.borrowed.items()}

    def _seen_by(self, name: str) -> tuple[Digests, str]:
        """Who takes the digest of a tensor, and under which name."""
        return self._of_others.get(name, self._digests), self._tensors[name].entry.name

    def reading(self, name: str) -> Fill:
        fill = super().reading(name)
        digests, original = self._seen_by(name)
        see = digests.seeing(original)

        def read(start: int, out: np.ndarray) -> None:
            fill(start, out)
            see(start, out)

        return read

    def read_tensors(self, names: Sequence[str], spans: Sequence[slice], out: np.ndarray) -> None:
        super().read_tensors(names, spans, out)
        if self._of_others.keys().isdisjoint(names):
            self._digests.see_tensors([self._tensors[name].entry.name for name in names], spans, out)
        else:
            for name, span in zip(names, spans, strict=True):
                digests, original = self._seen_by(name)
                digests.see(original, 0, out[span])

    @property
    def _every(self) -> list[Digests]:
        return list({id(digests): digests for digests in (self._digests, *self._of_others.values())}.values())

    def seen(self) -> Any:
        """All digests of this input, and of those that it borrows from."""
        return [digests.seen() for digests in self._every]

    def see_also(self, seen: Any) -> None:
        """Take in the digests that a helper has taken."""
        for digests, own in zip(self._every, seen, strict=True):
            digests.see_also(own)


class _Sink(CheckpointSink):
    def __init__(self, save: Save, writer: Writer, template: Reader, digests: Digests) -> None:
        super().__init__(save, writer, template)
        self._originals = save.originals
        self._digests = digests

    def writing(self, name: str) -> Put:
        put = super().writing(name)
        see = self._digests.seeing(self._originals[name])

        def write(start: int, bits: np.ndarray) -> int:
            crc = put(start, bits)
            see(start, bits)
            return crc

        return write

    def write_tensors(self, names: Sequence[str], spans: Sequence[slice], bits: np.ndarray) -> list[int]:
        crcs = super().write_tensors(names, spans, bits)
        self._digests.see_tensors([self._originals[name] for name in names], spans, bits)
        return crcs

    def seen(self) -> Any:
        """All digests of tensors that are computed."""
        return self._digests.seen()

    def see_also(self, seen: Any) -> None:
        """Take in the digests that a helper has taken."""
        self._digests.see_also(seen)
