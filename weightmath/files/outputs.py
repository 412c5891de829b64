"""From an entry of `save` to a file: what is computed, what is copied, and the engine's view of the writer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from weightmath.checkpoint import Checkpoint, Copy, Elements, Image, Reader, Section, TensorInfo, Writer, plan_image
from weightmath.checkpoint.checksum import crc32
from weightmath.checkpoint.draft import check_target, holds, left_bytes
from weightmath.checkpoint.drop import is_dropped
from weightmath.checkpoint.ending import SHARD, Form
from weightmath.checkpoint.left_behind import left_behind
from weightmath.checkpoint.writer import Put
from weightmath.delta.options import Options
from weightmath.dtypes import DType
from weightmath.engine.ends import Sink
from weightmath.errors import LayoutError, NumericError, OutputError, listed
from weightmath.files.inputs import Opened
from weightmath.kernels import convert
from weightmath.layout import Entry, Patterns

_PIECE = 1 << 18


class Rest(NamedTuple):
    """Elements of a computed tensor that are the template's: rows after those that all inputs have."""

    name: str
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.stop - self.start


class Encoding(NamedTuple):
    """Of an output that is a delta file: its place and how it stores its tensors, when they are computed."""

    path: Path
    options: Options
    entries: Mapping[str, Entry]  # by names in the template's file


@dataclass(frozen=True)
class Save:
    """One output, planned: its template, its names, and the image of its file.

    Where there is an `encoding`, that file holds the numbers until they are encoded, and goes then. The storage of
    names in `once` is written under another name alone (see weightmath.tied).
    """

    name: str
    path: Path
    template: Opened
    originals: Mapping[str, str]  # names in the recipe -> names in the file, of computed tensors
    copied: tuple[str, ...]  # names in the file of tensors of the section that are the template's
    left_behind: tuple[str, ...]  # dotted paths of what only the template's own container could keep
    rests: tuple[Rest, ...]
    form: Form
    image: Image
    encoding: Encoding | None = None
    once: frozenset[str] = frozenset()

    @property
    def merged(self) -> list[str]:
        """Names in the recipe of the floating-point tensors that are computed; of those with one storage only one."""
        tensors = self.template.tensors
        return [own for own in self.originals if own not in self.once and tensors[own].entry.dtype.is_float]

    @property
    def target(self) -> Path:
        """The file or folder that the user asked for."""
        return self.encoding.path if self.encoding else self.path

    @property
    def retyped(self) -> dict[str, DType]:
        """Of `merged`, the tensors that are stored in another dtype than the template's, and which."""
        if self.encoding is not None:
            return {}
        stored = {own: self.image.dtype(self.originals[own]) for own in self.merged}
        return {own: new for own, new in stored.items() if new != self.template.tensors[own].entry.dtype}


def plan_save(
    name: str,
    path: Path,
    template: Opened,
    computed: Mapping[str, int],
    *,
    dtype: DType | None = None,
    device: Literal["cpu", "keep"] = "cpu",
    drop: Sequence[str] = (),
    keep: Literal["all", "weights"] = "all",
    extra: Mapping[str, bytes] | None = None,
    form: Form = "torch zip",
    shard: int | None = None,
) -> Save:
    """Plan an output.

    computed   tensors by their names in the recipe, and how many of their leading elements are computed
    dtype      of those that are floats
    extra      further records, by name
    form       the container
    shard      most bytes in a file of a folder

    Fails with LayoutError where the template lacks a computed tensor, and as `plan_image` does.
    """
    lacking = [f"`{own}`" for own in computed if own not in template.tensors]
    if lacking:
        raise LayoutError(
            f"the template `{template.name}` lacks {listed(lacking, 1)}, which the output has",
            hint="choose a template that has all, or narrow the value with only(...)",
        )
    entries = [template.tensors[own].entry for own in computed]
    originals = {own: entry.name for own, entry in zip(computed, entries, strict=True)}
    dtypes = {entry.name: dtype for entry in entries if dtype and entry.dtype.is_float}
    if shard is not None and form != "folder":
        raise OutputError("`shard:` cuts folders into files, and this output is one file", hint=f"write `{name}/`")
    image = plan_image(
        template.section, originals.values(), dtypes=dtypes, device=device, drop=drop, keep=keep, extra=extra,
        form=form, shard=shard or SHARD,
    )  # fmt: skip
    cut = [(entry, count) for entry, count in zip(entries, computed.values(), strict=True) if count < entry.size]
    rests = tuple(rest for entry, count in cut if entry.name not in image.aliases for rest in _rests(entry, count))
    is_left_out, written = left_out(template.section, drop, keep), set(originals.values())
    others = {original: info for original, info in template.section.tensors.items() if original not in written}
    copied = tuple(original for original, info in others.items() if not is_left_out(info))
    behind = left_behind(template.section, form, drop) if keep == "all" else ()
    return Save(name, path, template, originals, copied, behind, rests, form, image)


def _rests(entry: Entry, start: int) -> Iterator[Rest]:
    """What is left of a tensor, cut so that threads can share it."""
    return (Rest(entry.name, first, min(first + _PIECE, entry.size)) for first in range(start, entry.size, _PIECE))


def left_out(section: Section, drop: Sequence[str], keep: str) -> Callable[[TensorInfo], bool]:
    """Tells of a tensor whether an output whose template has this section leaves it out."""
    path, patterns = section.path, Patterns(drop)

    def is_left_out(tensor: TensorInfo) -> bool:
        if keep == "weights" and tensor.path[: len(path)] != path:
            return True
        return bool(drop) and is_dropped(tensor.path, patterns)

    return is_left_out


def check_targets(
    saves: Sequence[Save], inputs: Sequence[Checkpoint], *, force: bool, ours: Collection[Path] = ()
) -> None:
    """OutputError when an output is an input, exists without `force`, is a folder, or the disk is too small for all.

    ours    outputs that a run of this job has published before it was stopped
    """
    needed: dict[int, int] = {}
    for save in saves:
        where, folder = str(save.path), save.path.parent
        is_replaced = save.path.exists() and save.path.is_dir() == save.image.is_folder
        if is_replaced and any(holds(save.path, checkpoint) for checkpoint in inputs):
            raise OutputError("is an input: an output never replaces an input", where=where, hint="choose another name")
        # Numbers that wait to be encoded lie under a hidden name, where a run that was killed may have left some.
        check_target(save.path, save.image, force=force or save.path in ours or save.encoding is not None)
        device = os.stat(folder).st_dev
        needed[device] = needed.get(device, 0) + save.image.size - left_bytes(save.path)
        free = shutil.disk_usage(folder).free
        if needed[device] > free:
            raise OutputError(
                f"the outputs need {needed[device]:,} bytes here, and the disk has {free:,}",
                where=where,
                hint="make room, or write elsewhere",
            )


def _checksum(start: int, bits: np.ndarray) -> int:
    crc: int = crc32(bits.view(np.uint8).data)
    return crc


class CheckpointSink(Sink):
    """The engine's view of an output: elements by name in the recipe; tied tensors are written once.

    Tied tensors have one storage, so their values must agree: where a formula tells their names apart, both are
    computed and compared by checksum.
    """

    def __init__(self, save: Save, writer: Writer, template: Reader) -> None:
        self._save = save
        self._writer = writer
        self._template = template
        aliases = save.image.aliases
        self._tied = {**aliases, **{target: target for target in aliases.values()}}
        self._sums: dict[tuple[str, str, int], int] = {}

    def dtype(self, name: str) -> DType | None:
        """The dtype in which a tensor is written; None: the output leaves it out, or has it under another name."""
        if name not in self._save.originals or name in self._save.once:
            return None
        return self._save.image.dtype(self._save.originals[name])

    def writing(self, name: str) -> Put:
        """What writes elements of a tensor, from one on, as raw bits, and returns their checksum."""
        original = self._save.originals[name]
        put = _checksum if original in self._save.image.aliases else self._writer.writing(original)
        if original not in self._tied:
            return put

        def write(start: int, bits: np.ndarray) -> int:
            crc = put(start, bits)
            self._note_tied(original, start, crc)
            return crc

        return write

    def write_tensors(self, names: Sequence[str], spans: Sequence[slice], bits: np.ndarray) -> list[int]:
        """Tensors of one dtype from their first elements on, each in its span of raw bits; returns their checksums."""
        originals = [self._save.originals[name] for name in names]
        if self._tied.keys().isdisjoint(originals):
            return self._writer.write_tensors(originals, spans, bits)
        return [self.writing(name)(0, bits[span]) for name, span in zip(names, spans, strict=True)]

    def holds(self, name: str, start: int, size: int, crc: int) -> bool:
        """Whether elements that an earlier run has written, with this checksum, are there."""
        original = self._save.originals[name]
        return original in self._save.image.aliases or self._writer.holds(original, start, size, crc)

    def adopt(self, name: str, start: int, size: int, crc: int) -> None:
        """Let elements that are there count as written."""
        original = self._save.originals[name]
        if original not in self._save.image.aliases:
            self._writer.adopt(original, start, size, crc)
        self._note_tied(original, start, crc)

    def _note_tied(self, original: str, start: int, crc: int) -> None:
        if original in self._tied:
            self._sums[self._tied[original], original, start] = crc

    @property
    def copies(self) -> Sequence[Copy | Elements | Rest]:
        """Jobs that copy what the template keeps."""
        return (*self._writer.copies, *self._save.rests)

    def copy(self, job: Copy | Elements | Rest) -> tuple[int, int]:
        """Do one of the jobs; the bytes copied, and their checksum."""
        if not isinstance(job, Rest):
            return job.size, self._writer.copy(job)
        bits = bits_of_rest(job, self._save, self._template)
        return bits.nbytes, self._writer.writing(job.name)(job.start, bits)

    def adopt_copy(self, job: Copy | Elements | Rest, crc: int) -> bool:
        """Whether what an earlier run's job has copied, with this checksum, is there; if so, it counts as copied."""
        if not isinstance(job, Rest):
            return self._writer.adopt_copy(job, crc)
        there = self._writer.holds(job.name, job.start, job.size, crc)
        if there:
            self._writer.adopt(job.name, job.start, job.size, crc)
        return there

    def check_tied(self) -> None:
        """OutputError when two names of one storage would get different values."""
        for (target, name, start), checksum in self._sums.items():
            if self._sums.get((target, target, start), checksum) != checksum:
                raise OutputError(
                    f"`{target}` and `{name}` are two names of one storage, and the recipe gives them different values",
                    where=str(self._save.path),
                    hint=f'give both the same numbers, or leave one out of the output: drop: "*{name}"',
                )


def bits_of_rest(rest: Rest, save: Save, template: Reader) -> np.ndarray:
    """The template's elements of a rest, as the output stores them. NumericError where they overflow in its dtype."""
    tensor, new = save.template.section.tensors[rest.name], save.image.dtype(rest.name)
    bits = template.bits(tensor, rest.start, rest.stop)
    if new == tensor.entry.dtype:
        return bits
    retyped = np.empty(len(bits), new.bits)
    convert.encode(convert.decoded(bits, tensor.entry.dtype), new, retyped)
    if convert.nonfinite(retyped, new) > convert.nonfinite(bits, tensor.entry.dtype):
        fact = f"rows of `{rest.name}` that are not merged overflow in {new}"
        raise NumericError(fact, hint="choose a wider `dtype:`")
    return retyped
