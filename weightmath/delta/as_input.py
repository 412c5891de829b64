"""A delta file as a checkpoint of float32 tensors, which recipes and Python compute with like with any other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from weightmath.checkpoint import Checkpoint, Reader, TensorInfo
from weightmath.checkpoint.description import Storage, c_stride
from weightmath.checkpoint.reader import Fill
from weightmath.delta.container import DeltaFile, delta_of
from weightmath.delta.decoding import HELD, DeltaReader
from weightmath.delta.mark import CONTAINER
from weightmath.dtypes import FLOAT32
from weightmath.errors import CheckpointError, shell_word


@dataclass(frozen=True, eq=False)
class DeltaCheckpoint(Checkpoint):
    """The description of a delta file whose tensors are its numbers; `source` is the `DeltaFile`."""

    held: ClassVar[int] = HELD

    def open(self) -> Reader:
        """A reader that decodes."""
        return _Decoding(self)


class _Decoding(DeltaReader):
    def __init__(self, checkpoint: DeltaCheckpoint) -> None:
        super().__init__(checkpoint.source)
        self.checkpoint = checkpoint

    def reading(self, tensor: TensorInfo) -> Fill:
        """What reads elements of a tensor, decoded."""

        def fill(start: int, out: np.ndarray) -> None:
            out[:] = self.values(tensor.entry.name, start, start + len(out))

        return fill

    def read_tensors(self, tensors: Sequence[TensorInfo], spans: Sequence[slice], out: np.ndarray) -> None:
        """Tensors from their first elements on, decoded, each into its span."""
        for tensor, span in zip(tensors, spans, strict=True):
            self.read(tensor, 0, span.stop - span.start, out[span])


def as_checkpoint(checkpoint: Checkpoint) -> DeltaCheckpoint:
    """The numbers of a delta file that was opened as a safetensors file; integers, which it holds exactly, stay out.

    Fails   CheckpointError for an exact delta: what it holds means nothing without its base
    """
    file = delta_of(checkpoint)
    if file.delta.kind == "exact":
        base, name = shell_word(file.delta.base.file), shell_word(file.path.name)
        raise CheckpointError(
            "is an exact delta, which has no numbers without its base",
            where=str(file.path),
            hint=f"weightmath delta apply {base} {name} -o tuned.ckpt, and use `tuned - base`; or make it with "
            "--as dense",
        )
    tensors = _tensors(file)
    return DeltaCheckpoint(
        path=checkpoint.path,
        container=CONTAINER,
        writer=file.delta.by,
        files=checkpoint.files,
        stamps=checkpoint.stamps,
        tensors=tuple(tensors.values()),
        places=checkpoint.places,
        tree=dict(tensors),
        outlines=(("", tensors, False),) if tensors else (),
        source=file,
        texts=checkpoint.texts,
    )


def _tensors(file: DeltaFile) -> dict[str, TensorInfo]:
    found: dict[str, TensorInfo] = {}
    for name, record in file.delta.records.items():
        if not record.is_exact:
            entry = record.entry._replace(dtype=FLOAT32)
            storage = Storage(name, entry.nbytes, "cpu")
            found[name] = TensorInfo(entry, (name,), storage, 0, c_stride(entry.shape), True, len(found))
    return found
