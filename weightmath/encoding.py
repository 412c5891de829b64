"""Outputs that are delta files: planned, refused where they cannot be meant, and encoded when they are computed.

The engine writes float32 numbers, in any order, to a hidden file beside the output; when all are there they are encoded
front to back, and the hidden file goes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path, PurePath

from weightmath.checkpoint import Checkpoint, open_checkpoint
from weightmath.checkpoint.ending import bare
from weightmath.checkpoint.lock import hidden
from weightmath.delta.options import Options
from weightmath.dtypes import FLOAT32
from weightmath.errors import KindError, OutputError
from weightmath.files.inputs import Opened
from weightmath.files.outputs import Encoding, Save, plan_save
from weightmath.layout import Entry
from weightmath.recipe.spec import SaveSpec

ENDING = ".delta"
_NOT_FOR_DELTAS = ("dtype", "device", "drop", "keep", "shard")


def is_encoded(path: str) -> bool:
    """Whether an output of that name is a delta file."""
    return PurePath(path).suffix.lower() == ENDING


def check_wishes(path: str, spec: SaveSpec, kind: str) -> None:
    """What no output can be: OutputError for keys that do not go with its ending, KindError for a model as a delta."""
    if not is_encoded(path):
        if spec.as_ is not None:
            raise OutputError(
                f"`as:` is for delta files, whose names end in {ENDING}", hint=f"{bare(PurePath(path))}.delta"
            )
        return
    given = [key for key in _NOT_FOR_DELTAS if key in spec.model_fields_set]
    if given:
        hint = "as: {kind: dense, dtype: bfloat16}" if given[0] == "dtype" else "leave it out"
        raise OutputError(f"`{given[0]}:` is not for delta files, which hold numbers alone", hint=hint)
    if kind == "model":
        raise KindError("a delta file holds a difference, and the value is a model", hint="value: merged - base")


def plan_encoded(name: str, path: Path, template: Opened, computed: Mapping[str, int], spec: SaveSpec) -> Save:
    """Plan an output that is a delta file; the parameters are those of `plan_save`."""
    dense = plan_save(
        name, hidden(path, "dense"), template, computed, dtype=FLOAT32, keep="weights", form="safetensors"
    )
    options = spec.as_.options() if spec.as_ else Options("dense")
    entries = {dense.originals[own]: _leading(template.tensors[own].entry, count) for own, count in computed.items()}
    return replace(dense, copied=(), left_behind=(), encoding=Encoding(path, options, entries))


def _leading(entry: Entry, count: int) -> Entry:
    """The tensor's leading rows that have so many elements, as float32."""
    if count == entry.size:
        return entry._replace(dtype=FLOAT32)
    return entry._replace(shape=(count // prod(entry.shape[1:]), *entry.shape[1:]), dtype=FLOAT32)


def check_encoded(
    saves: Sequence[Save], inputs: Sequence[Checkpoint], *, force: bool, ours: Collection[Path] = ()
) -> None:
    """OutputError where a delta file cannot get its name; `ours` are those that a run of this job has published."""
    files = [file for checkpoint in inputs for file in checkpoint.files]
    for save in saves:
        if save.encoding:
            # Imported when there is a delta file to write: that takes 15 ms.
            from weightmath.delta.writing import check_free

            check_free(save.encoding.path, files, force=force or save.encoding.path in ours)


def encode(save: Save, threads: int, *, record: Callable[[str], str] | None = None) -> Path:
    """Make the delta file of the numbers that were computed, complete under a hidden name, which is returned.

    record   the provenance that it carries, made of the fingerprint of its numbers: an encoding changes them
    """
    from weightmath.delta.from_dense import from_dense

    assert save.encoding is not None
    target, options, entries = save.encoding
    path = hidden(target, "encoded")
    dense = open_checkpoint(save.path).section("")
    from_dense(dense, save.template.section, entries, path, options, record, threads)
    return path
