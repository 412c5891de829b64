"""A number that a checkpoint stores beside its weights: a metric, an epoch, a step."""

from __future__ import annotations

import math
from collections.abc import Mapping

from weightmath.checkpoint import Checkpoint, Opaque, TensorInfo
from weightmath.errors import CheckpointError, nearest
from weightmath.kernels import convert


def stored_number(checkpoint: Checkpoint, path: str) -> float:
    """The number at a dotted path: `metric`, `callbacks.best_score`; a tensor of one element counts as a number.

    CheckpointError where there is nothing, something else, or NaN, which has no place in an order.
    """
    value = _found(checkpoint, path)
    if isinstance(value, TensorInfo) and value.entry.size == 1 and value.entry.dtype.kind in ("float", "int"):
        value = _element(checkpoint, value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CheckpointError(f"`{path}` is {_described(value)}, not a number", where=str(checkpoint.path))
    if math.isnan(value):
        raise CheckpointError(f"`{path}` is NaN", where=str(checkpoint.path), hint="leave the file out with `except:`")
    return float(value)


def _found(checkpoint: Checkpoint, path: str) -> object:
    """The value at a path. Keys may hold dots themselves: the longest key that fits is tried first."""
    value, rest = checkpoint.tree, path
    while rest:
        entries = _entries(value)
        fitting = [key for key in entries if rest == key or rest.startswith(f"{key}.")]
        if not fitting:
            known = " ".join(list(entries)[:12])
            hint = nearest(rest.partition(".")[0], entries) or (f"there are: {known}" if known else None)
            raise CheckpointError(f"stores nothing at `{path}`", where=str(checkpoint.path), hint=hint)
        key = max(fitting, key=len)
        value, rest = entries[key], rest[len(key) + 1 :]
    return value


def _entries(tree: object) -> dict[str, object]:
    if isinstance(tree, Opaque):
        return _entries(tree.content)
    if isinstance(tree, Mapping):
        return {str(key): value for key, value in tree.items()}
    return {str(i): value for i, value in enumerate(tree)} if isinstance(tree, list | tuple) else {}


def _element(checkpoint: Checkpoint, tensor: TensorInfo) -> float:
    with checkpoint.open() as reader:
        return float(convert.decoded(reader.bits(tensor), tensor.entry.dtype)[0])


def _described(value: object) -> str:
    if isinstance(value, TensorInfo):
        return f"a tensor of shape {list(value.entry.shape)}"
    if isinstance(value, Opaque):
        return f"an object ({value.name})"
    names = {dict: "a mapping", list: "a list", tuple: "a list", str: "text", bool: "true or false"}
    return names.get(type(value), "nothing" if value is None else type(value).__name__)
