"""From an entry of `save` to a file: what is computed, what is copied, and the engine's view of the writer."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from weightmath.checkpoint import Checkpoint, Copy, Image, Writer, plan_image
from weightmath.dtypes import DType
from weightmath.errors import OutputError
from weightmath.inputs import Opened


@dataclass(frozen=True)
class Save:
    """One output, planned: its template, its names, and the image of its file."""

    name: str
    path: Path
    template: Opened
    originals: Mapping[str, str]  # names in the recipe -> names in the file, of computed tensors
    image: Image

    @property
    def copied(self) -> tuple[str, ...]:
        """Names in the file of the section's tensors that are copied from the template."""
        computed = set(self.originals.values())
        return tuple(name for name in self.template.section.tensors if name not in computed)


def plan_save(
    name: str,
    path: Path,
    template: Opened,
    computed: Sequence[str],
    *,
    dtype: DType | None = None,
    device: Literal["cpu", "keep"] = "cpu",
    drop: Sequence[str] = (),
    keep: Literal["all", "weights"] = "all",
) -> Save:
    """Plan an output whose `computed` tensors (names in the recipe) are floats; `dtype` is for those among them."""
    originals = {own: template.tensors[own].entry.name for own in computed}
    floats = {original for own, original in originals.items() if template.tensors[own].entry.dtype.is_float}
    dtypes = dict.fromkeys(floats, dtype) if dtype else {}
    image = plan_image(
        template.section, originals.values(), dtypes=dtypes, device=device, drop=drop, keep=keep
    )
    return Save(name, path, template, originals, image)


def check_targets(saves: Sequence[Save], inputs: Sequence[Checkpoint], *, force: bool) -> None:
    """OutputError when an output is an input, exists without `force`, is a folder, or the disk is too small for all."""
    needed: dict[int, int] = {}
    for save in saves:
        where = str(save.path)
        if save.path.is_dir():
            raise OutputError("is a directory", where=where, hint=f"name a file in it: {save.path / 'merged.ckpt'}")
        folder = save.path.parent
        if not folder.is_dir():
            raise OutputError("its directory does not exist", where=where, hint=f"mkdir -p {folder}")
        for checkpoint in inputs:
            if save.path.exists() and any(os.path.samefile(save.path, file) for file in checkpoint.files):
                raise OutputError("is an input: an output never replaces an input", where=where, hint="choose another name")
        if save.path.exists() and not force:
            raise OutputError("exists", where=where, hint="choose another name, or allow it with --force")
        disk = os.statvfs(folder)
        device = os.stat(folder).st_dev
        needed[device] = needed.get(device, 0) + save.image.size
        free = disk.f_bavail * disk.f_frsize
        if needed[device] > free:
            raise OutputError(
                f"the outputs need {needed[device]:,} bytes here, and the disk has {free:,}", where=where, hint="make room, or write elsewhere"
            )


class CheckpointSink:
    """The engine's view of an output: elements by name in the recipe; tied tensors are written once.

    Tied tensors have one storage, so their values must agree; both are computed and compared by checksum.
    """

    def __init__(self, save: Save, writer: Writer) -> None:
        self._save = save
        self._writer = writer
        self._tied = {name: save.image.aliases.get(name, name) for name in self._shared(save.image)}
        self._sums: dict[tuple[str, str, int], int] = {}

    @staticmethod
    def _shared(image: Image) -> set[str]:
        return {*image.aliases, *image.aliases.values()}

    def dtype(self, name: str) -> DType | None:
        """The dtype in which a tensor is written."""
        return self._save.image.dtype(self._save.originals[name])

    def write(self, name: str, start: int, bits: np.ndarray) -> None:
        """Elements from `start` on, as raw bits."""
        original = self._save.originals[name]
        if original in self._tied:
            self._sums[self._tied[original], original, start] = zlib.crc32(bits.view(np.uint8).data)
        if original not in self._save.image.aliases:
            self._writer.write(original, start, bits)

    @property
    def copies(self) -> Sequence[Copy]:
        """Jobs that copy what the template keeps."""
        return self._writer.copies

    def copy(self, job: Any) -> int:
        """Do one of the jobs; the bytes copied."""
        self._writer.copy(job)
        return int(job.size)

    def check_tied(self) -> None:
        """OutputError when two names of one storage would get different values."""
        for (target, name, start), checksum in self._sums.items():
            if self._sums.get((target, target, start), checksum) != checksum:
                raise OutputError(
                    f"`{target}` and `{name}` are two names of one storage, and the recipe gives them different values",
                    where=str(self._save.path),
                    hint="give both the same numbers, or leave one out with `except:`",
                )
