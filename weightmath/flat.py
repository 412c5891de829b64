"""The guide's own three steps: a checkpoint as one 1-D array, the array as tensors, the array as a new checkpoint.

These hold the whole vector in memory, unlike recipes, which stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from weightmath.checkpoint import Section, Writer, open_checkpoint, plan_image
from weightmath.checkpoint.ending import form_of
from weightmath.dtypes import DTYPES, FLOAT32, FLOAT64, DType
from weightmath.dtypes import dtype as known_dtype
from weightmath.errors import LayoutError, NumericError, OutputError
from weightmath.kernels import convert
from weightmath.layout import Layout
from weightmath.paths import expanded

_PIECE = 1 << 20
_FLOATS = (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64))


def flatten(path: str | Path, section: str | None = None) -> tuple[np.ndarray, Layout]:
    """The floating-point tensors of a checkpoint as one vector, and the layout they came from.

    Parameters
        path      a checkpoint
        section   which mapping inside it; None: the one that holds the weights
    Returns
        vector    1-D, float32, or float64 where a tensor is; tensors in the order of their names. Half precision fits
                  exactly, so that `repackage(*flatten(path), new)` gives back every bit
        layout    names, shapes, dtypes and offsets; it remembers the checkpoint, where all other tensors stay
    Fails         CheckpointError for a file that is no checkpoint or holds no tensors
    """
    chosen = open_checkpoint(path).section(section)
    layout = chosen.layout
    wide = any(entry.dtype is FLOAT64 for entry in layout)
    vector = np.empty(layout.size, np.float64 if wide else np.float32)
    with chosen.checkpoint.open() as reader, np.errstate(all="ignore"):
        for entry, offset in zip(layout, layout.offsets, strict=False):
            for start in range(0, entry.size, _PIECE):
                stop = min(start + _PIECE, entry.size)
                bits = reader.bits(chosen.tensors[entry.name], start, stop)
                part = vector[offset + start : offset + stop]
                convert.decode(bits, entry.dtype, part)
                convert.carry_nans(bits, entry.dtype, part, FLOAT64 if wide else FLOAT32)
    return vector, layout


def unflatten(vector: np.ndarray, layout: Layout) -> dict[str, np.ndarray]:
    """The vector cut into tensors of their original shape and dtype, by name.

    bfloat16 and float8, which numpy has not, come as float32 with the values that they round to. Fails with LayoutError
    for a vector of another length, or that is no array of floats.
    """
    _check(vector, layout)
    tensors = {}
    for entry, offset in zip(layout, layout.offsets, strict=False):
        numbers = np.ascontiguousarray(vector[offset : offset + entry.size])
        bits = np.empty(entry.size, entry.dtype.bits)
        with np.errstate(all="ignore"):
            convert.encode(numbers, entry.dtype, bits)
        if entry.dtype.bits.kind != "f":
            rounded = np.empty(entry.size, np.float32)
            convert.decode(bits, entry.dtype, rounded)
            bits = rounded
        tensors[entry.name] = bits.reshape(entry.shape)
    return tensors


def repackage(
    vector: np.ndarray, layout: Layout, path: str | Path, *, dtype: str | None = None, force: bool = False
) -> None:
    """Write the vector as a new checkpoint: a copy of the one that the layout came from, with these numbers.

    The container is told by the name: `.ckpt .pt .pth .bin`, `.safetensors`, or `merged/` for a folder of safetensors.

    Everything else survives: nesting, optimizer state, other tensors. `dtype` changes that of the vector's tensors.
    What is given is written, every bit of it: NaN and infinities too, which `save` and recipes refuse.

    Fails with NumericError for finite numbers that are too large for a tensor's dtype; LayoutError for a vector of
    another length, or that is no array of floats, or a layout that came from no checkpoint; OutputError where two names
    of one storage have different numbers, the file exists (unless `force`), is the original, or does not fit the disk.
    The file appears whole or not at all.
    """
    _check(vector, layout)
    if not isinstance(layout.template, Section):
        raise LayoutError("this layout did not come from a checkpoint, so that there is nothing to repackage into")
    dtypes = dict.fromkeys(layout.names, known_dtype(dtype)) if dtype else {}
    image = plan_image(layout.template, layout.names, dtypes=dtypes, device="keep", form=form_of(str(path)))
    _check_tied(vector, layout, image.aliases)
    with Writer(image, expanded(path), force=force) as writer, np.errstate(all="ignore"):
        for copy in writer.copies:
            writer.copy(copy)
        for entry, offset in zip(layout, layout.offsets, strict=False):
            if entry.name in image.aliases:
                continue
            kept = image.dtype(entry.name)
            for start in range(0, entry.size, _PIECE):
                stop = min(start + _PIECE, entry.size)
                numbers = np.ascontiguousarray(vector[offset + start : offset + stop])
                bits = np.empty(stop - start, kept.bits)
                convert.encode(numbers, kept, bits)
                convert.carry_nans(numbers, DTYPES[numbers.dtype.name], bits, kept)
                _check_fits(numbers, bits, entry.name, kept)
                writer.write(entry.name, start, bits)
        writer.commit()
        writer.publish()


def _check_fits(numbers: np.ndarray, bits: np.ndarray, name: str, kept: DType) -> None:
    """NumericError where finite numbers became infinite, or NaN in a dtype without infinity."""
    if kept.itemsize >= numbers.dtype.itemsize:
        return
    # What is not finite stays so.
    if convert.nonfinite(bits, kept) > np.count_nonzero(~np.isfinite(numbers)):
        fact = f"`{name}` is stored as {kept.name}, and the vector has numbers that are too large for it"
        raise NumericError(fact, hint='dtype="float32"')


def _check_tied(vector: np.ndarray, layout: Layout, aliases: Mapping[str, str]) -> None:
    """OutputError where a tensor and the one whose storage it shares have different numbers."""
    for name, target in aliases.items():
        one, other = (vector[layout.offsets[layout.index[key]] :][: layout[key].size] for key in (name, target))
        if not np.array_equal(one, other, equal_nan=True):
            raise OutputError(
                f"`{target}` and `{name}` are two names of one storage, and the vector has different numbers for them",
                hint="change both alike",
            )


def _check(vector: np.ndarray, layout: Layout) -> None:
    """LayoutError unless these are floats in one row, one for each element of the layout."""
    if not isinstance(layout, Layout):
        fact = f"`layout` must be the Layout that flatten returned, not {type(layout).__name__}"
        raise LayoutError(fact, hint="vector, layout = wm.flatten(path)")
    if not isinstance(vector, np.ndarray):
        fact = f"`vector` must be a numpy array of floats, not {type(vector).__name__}"
        raise LayoutError(fact, hint="np.asarray(vector, np.float32)")
    if vector.dtype not in _FLOATS:
        fact = f"`vector` must be an array of float32 or float64, not of {vector.dtype}"
        raise LayoutError(fact, hint="vector.astype(np.float32)")
    if vector.shape != (layout.size,):
        raise LayoutError(f"the vector has shape {vector.shape}, and the layout {layout.size} elements")
