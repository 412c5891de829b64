"""From an input of a recipe to a vector of its graph: headers only, names as the recipe says them, layouts compared."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from weightmath.checkpoint import Checkpoint, Reader, Section, TensorInfo, open_checkpoint
from weightmath.dtypes import DType
from weightmath.errors import LayoutError, RecipeError, WeightmathError, at
from weightmath.graph import Input, Vector, input_vector
from weightmath.layout import Difference, Entry, Layout, difference

_SHOWN = 8


@dataclass(frozen=True)
class Opened:
    """A checkpoint that a recipe reads: its section, and its tensors under their names in the recipe."""

    name: str
    section: Section
    tensors: Mapping[str, TensorInfo]

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint of the section."""
        return self.section.checkpoint

    @cached_property
    def layout(self) -> Layout:
        """The floating-point tensors under their names in the recipe."""
        return _layout(self.tensors)


@dataclass(frozen=True)
class Fallback:
    """Where a vector's tensors are read from: the input's own, and those that it takes from the template instead."""

    own: Opened
    tensors: Mapping[str, TensorInfo]
    borrowed: Mapping[str, Opened]


def _layout(tensors: Mapping[str, TensorInfo]) -> Layout:
    return Layout.of(
        Entry(name, info.entry.shape, info.entry.dtype) for name, info in tensors.items() if info.entry.dtype.is_float
    )


def open_input(
    name: str,
    path: str | Path,
    *,
    section: str | None = None,
    strip: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
) -> Opened:
    """Open a checkpoint's headers and name its tensors.

    `strip` removes the first prefix that a name begins with; then each `rename` replaces a prefix, or what a `re:...` matches,
    the first that applies. Fails with CheckpointError for a file that cannot be read or holds no tensors, and RecipeError
    where two tensors get one name or a rule applies to none.
    """
    chosen = open_checkpoint(path).section(section)
    tensors: dict[str, TensorInfo] = {}
    used: set[str] = set()
    for original, info in chosen.tensors.items():
        new = _renamed(original, strip, rename or {}, used)
        if new in tensors:
            raise RecipeError(f"two tensors get the name `{new}`", hint="make `strip` and `rename` tell them apart")
        tensors[new] = info
    for rule in (*strip, *(rename or {})):
        if rule not in used:
            raise RecipeError(f"`{rule}` is the beginning of no tensor's name in {Path(path).name}")
    return Opened(name, chosen, tensors)


def _renamed(name: str, strip: Sequence[str], rename: Mapping[str, str], used: set[str]) -> str:
    for prefix in strip:
        if name.startswith(prefix):
            used.add(prefix)
            name = name[len(prefix) :]
            break
    for old, new in rename.items():
        if old.startswith("re:"):
            changed, count = re.subn(old[3:], new, name)
        else:
            changed, count = new + name.removeprefix(old), int(name.startswith(old))
        if count:
            used.add(old)
            return changed
    return name


def as_vector(
    opened: Opened, template: Opened, *, kind: str = "model", missing: str = "error", extra: str = "error", part: bool = False
) -> Vector:
    """The vector of an opened input, compared with the template's layout.

    `missing: template` reads what the input lacks from the template, `extra: ignore` leaves out what the template lacks;
    a `part` may lack tensors. Fails with LayoutError, which shows one table of all differences and the line that would help.
    """
    own = opened.layout
    found = difference(template.layout, own)
    allowed_missing = part or missing == "template"
    if found.reshaped or (found.missing and not allowed_missing) or (found.extra and extra == "error"):
        raise _mismatch(opened, template, found, allowed_missing, extra)
    borrowed = {name: template for name in found.missing if not part}
    tensors = {name: info for name, info in opened.tensors.items() if name in template.layout}
    tensors |= {name: template.tensors[name] for name in borrowed}
    layout = _layout(tensors)
    return input_vector(Input(opened.name, layout, kind, part, Fallback(opened, tensors, borrowed)))


def _mismatch(opened: Opened, template: Opened, found: Difference, missing_allowed: bool, extra: str) -> LayoutError:
    rows = [("shape", f"{name}: {there} here, {expected} there") for name, expected, there in found.reshaped]
    if not missing_allowed:
        rows += [("missing", name) for name in found.missing]
    if extra == "error":
        rows += [("extra", name) for name in found.extra]
    shown = [f"    {word:8}{text}" for word, text in rows[:_SHOWN]]
    if len(rows) > _SHOWN:
        shown.append(f"    and {len(rows) - _SHOWN} more")
    counts = f"{len(found.missing)} missing, {len(found.extra)} extra, {len(found.reshaped)} of another shape"
    what = f"`{opened.name}` does not have the layout of `{template.name}` ({counts})\n" + "\n".join(shown)
    return LayoutError(what, where=str(opened.checkpoint.path), hint=_way_out(found))


def _way_out(found: Difference) -> str:
    """The line that would make most names match, or the policies that accept the difference."""
    prefixes: Counter[tuple[str, str]] = Counter()
    missing = set(found.missing)
    for name in found.extra:
        for i in range(1, len(name)):
            if name[i:] in missing:
                prefixes["strip", name[:i]] += 1
                break
    tails = {name[i:]: name[:i] for name in found.missing for i in range(1, len(name))}
    for name in found.extra:
        if name in tails:
            prefixes["rename", tails[name]] += 1
    if prefixes:
        (way, prefix), _ = prefixes.most_common(1)[0]
        return f'add to the input: {way}: ["{prefix}"]' if way == "strip" else f'add to the input: rename: {{"": "{prefix}"}}'
    lines = []
    if found.missing:
        lines.append("`missing: template` takes what is missing from the template, `part: true` says that it is a part")
    if found.extra:
        lines.append("`extra: ignore` leaves out what is extra")
    if found.reshaped:
        lines.append("tensors of another shape can be left out with `except:`")
    return "; ".join(lines)


class CheckpointSource:
    """The engine's view of an input: elements by name, from one or more open checkpoints."""

    def __init__(self, fallback: Fallback, readers: Mapping[Path, Reader]) -> None:
        self._dtypes = {name: info.entry.dtype for name, info in fallback.tensors.items()}
        self._places = {
            name: (readers[fallback.borrowed.get(name, fallback.own).checkpoint.path], info)
            for name, info in fallback.tensors.items()
        }

    def dtype(self, name: str) -> DType:
        """The dtype in which a tensor is stored."""
        return self._dtypes[name]

    def read(self, name: str, start: int, stop: int, out: np.ndarray) -> None:
        """Elements start..stop of a tensor, as raw bits."""
        reader, info = self._places[name]
        reader.read(info, start, stop, out)


def open_readers(stack: ExitStack, checkpoints: Iterable[Checkpoint]) -> dict[Path, Reader]:
    """One reader per file, closed with the stack."""
    readers: dict[Path, Reader] = {}
    for checkpoint in checkpoints:
        if checkpoint.path not in readers:
            readers[checkpoint.path] = stack.enter_context(checkpoint.open())
    return readers


def placed(where: str, error: WeightmathError) -> WeightmathError:
    """The error with the place in the recipe before the file it speaks of."""
    error.where = f"{where}: {error.where}" if error.where else None
    return at(where, error)
