"""From an input of a recipe to a vector of its graph: headers only, names as the recipe says them, layouts compared."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from weightmath.algebra.graph import Input, Vector, input_vector
from weightmath.checkpoint import Checkpoint, Reader, Section, TensorInfo, open_checkpoint
from weightmath.checkpoint.reader import Fill
from weightmath.delta import mark
from weightmath.dtypes import DType
from weightmath.engine.ends import Source
from weightmath.errors import CheckpointError, KindError, LayoutError, WeightmathError, at, listed, nearest
from weightmath.files.mismatch import Terms, described
from weightmath.files.naming import Naming
from weightmath.files.subject import Subject
from weightmath.kernels import convert
from weightmath.layout import Difference, Entry, Layout, difference

_AS_NAMED = Naming()
_PIECE = 1 << 20


@dataclass(frozen=True)
class Opened:
    """A checkpoint that a recipe reads: its section, and its tensors under their names in the recipe.

    name     what messages call it: the input's name, or `runs[0]` for the first of a list
    prefix   the section is those of its tensors whose names begin with this
    """

    name: str
    section: Section
    prefix: str
    tensors: Mapping[str, TensorInfo]

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint of the section."""
        return self.section.checkpoint

    @property
    def is_delta_input(self) -> bool:
        """Whether it is a delta file: its kind is delta, and what it lacks is 0."""
        return self.checkpoint.container == mark.CONTAINER

    @property
    def input(self) -> str:
        """The name of the input in the recipe."""
        return self.name.partition("[")[0]

    @property
    def place(self) -> str:
        """The section as `section:` would name it, with the prefix: `state_dict.model_ema.`."""
        return ".".join(part for part in (self.section.name, self.prefix) if part)

    @cached_property
    def layout(self) -> Layout:
        """The floating-point tensors under their names in the recipe."""
        if self.tensors is self.section.tensors:
            return self.section.layout
        floats = ((name, info.entry) for name, info in self.tensors.items() if info.entry.dtype.is_float)
        return Layout.of(entry if entry.name == name else entry._replace(name=name) for name, entry in floats)


@dataclass(frozen=True)
class Origin:
    """Where a vector's tensors are read from: the input's own, and those that it takes from the template instead.

    options   what wm.open was told, as a recipe's input says it
    """

    own: Opened
    tensors: Mapping[str, TensorInfo]
    borrowed: Mapping[str, Opened]
    options: Mapping[str, Any] = field(default_factory=dict)


def open_input(name: str, path: str | Path, *, section: str | None = None, naming: Naming = _AS_NAMED) -> Opened:
    """Open a checkpoint's headers and name its tensors.

    `section` is a mapping's name, or a prefix that ends in a dot: `model_ema.` are the tensors of the section that
    begin with it, and they lose it. Fails with CheckpointError for a file that cannot be read or holds no tensors, and
    RecipeError as `Naming.apply` does.
    """
    checkpoint = open_checkpoint(path)
    if mark.is_delta(checkpoint):
        # Imported when there is a delta file to read: that takes 15 ms.
        from weightmath.delta.as_input import as_checkpoint

        checkpoint = as_checkpoint(checkpoint)
    chosen, prefix = _section(checkpoint, section)
    if not prefix and naming.changes_nothing:
        return Opened(name, chosen, prefix, chosen.tensors)
    inside = {original[len(prefix) :]: original for original in chosen.tensors if original.startswith(prefix)}
    beside = [original for original in chosen.tensors if not original.startswith(prefix)]
    found = naming.apply(inside, beside)
    return Opened(name, chosen, prefix, {new: chosen.tensors[inside[short]] for new, short in found.items()})


def _section(checkpoint: Checkpoint, name: str | None) -> tuple[Section, str]:
    """A section, and the prefix of its tensors that are meant."""
    if name is None or not name.endswith(".") or name == ".":
        return checkpoint.section(name), ""
    holders = [section for section in checkpoint.sections if section.name and name.startswith(f"{section.name}.")]
    pairs = [(section, name[len(section.name) + 1 :]) for section in holders]
    pairs = [*sorted(pairs, key=lambda pair: len(pair[1])), (checkpoint.section(), name)]
    for section, prefix in pairs:
        if prefix and any(original.startswith(prefix) for original in section.tensors):
            return section, prefix
    section = checkpoint.section()
    firsts = dict.fromkeys(f"{original.partition('.')[0]}." for original in section.tensors)
    hint = nearest(name, firsts) or f"they begin with: {' '.join(list(firsts)[:8])}"
    raise CheckpointError(
        f"no tensor of section `{section.name or '.'}` begins with `{name}`", where=str(checkpoint.path), hint=hint
    )


def as_vector(
    opened: Opened, template: Opened, subject: Subject, terms: Terms, options: Mapping[str, Any] | None = None
) -> Vector:
    """The vector of an opened input, compared with what the recipe is about.

    `missing: template` reads what a model lacks from the template, `extra: ignore` leaves out what the template lacks,
    a part may lack tensors. A mask may consist of truth values or whole numbers too. Fails as `compared` does.
    """
    own, found = compared(opened, template, subject, terms)
    borrowed = {name: template for name in found.missing if terms.borrows}
    # Equal layouts are one object: so are then their names, and the index of these.
    layout, tensors = subject.layout if own == subject.layout else own, opened.tensors
    if found.extra or borrowed:
        shared = (entry for entry in own if entry.name in subject.layout)
        layout = Layout.of([*shared, *(subject.layout[name] for name in borrowed)])
    if borrowed or len(layout) < len(tensors):
        tensors = {name: borrowed.get(name, opened).tensors[name] for name in layout.names}
    origin = Origin(opened, tensors, borrowed, options or {})
    return input_vector(Input(opened.name, layout, terms.kind, terms.part, origin, opened.checkpoint.held))


def compared(opened: Opened, template: Opened, subject: Subject, terms: Terms) -> tuple[Layout, Difference]:
    """The tensors of an input that count, and how they differ from what a recipe is about.

    Fails with LayoutError: a table of all differences, and the line that would help, or that there is nothing in
    common; KindError where they are LoRA adapters, or one of them is.
    """
    own = _comparable(opened, subject, terms.kind)
    found = difference(subject.layout, own)
    refused = terms.refused(found)
    is_other = bool(opened.layout.names) and template.layout.index.keys().isdisjoint(opened.layout.names)
    if refused or is_other:
        _check_no_adapter(opened, template)
    if refused:
        retyped = {name: opened.tensors[name].entry.dtype for name in refused.missing if name in opened.tensors}
        what, hint = described(refused, retyped, terms.kind, own.names)
        fact = f"`{opened.name}` does not have the layout of `{template.name}` {what}"
        raise LayoutError(fact, where=str(opened.checkpoint.path), hint=hint)
    if is_other:
        fact = f"`{opened.name}` has none of the tensors of `{template.name}`, but {listed(opened.layout.names, 3)}"
        hint = f"those are {listed(template.layout.names, 3)}: `strip:` and `rename:` make names match"
        raise LayoutError(fact, where=str(opened.checkpoint.path), hint=hint)
    return own, found


def _check_no_adapter(opened: Opened, template: Opened) -> None:
    """KindError where checkpoints that do not fit are LoRA adapters, whose numbers are no vectors yet."""
    # Imported when an input is refused: that takes 15 ms.
    from weightmath.delta.adapter import is_adapter

    adapters = [one for one in (opened, template) if is_adapter(one.tensors)]
    if len(adapters) == 2:
        fact = f"`{opened.name}` and `{template.name}` are LoRA adapters: factors of differences, of other shapes"
        hint = "make deltas of both, which do merge: weightmath delta from-lora ADAPTER BASE -o DELTA"
        raise KindError(fact, where=str(opened.checkpoint.path), hint=hint)
    if len(adapters) == 1:
        (adapter,) = adapters
        base = template if adapter is opened else opened
        paths = shlex.join(str(one.checkpoint.path) for one in (adapter, base))
        fact = f"`{adapter.name}` is a LoRA adapter: factors of a difference, not the difference itself"
        hint = f"make a delta of it, and read that: weightmath delta from-lora {paths} -o {adapter.input}.delta"
        raise KindError(fact, where=str(opened.checkpoint.path), hint=hint)


def _comparable(opened: Opened, subject: Subject, kind: str) -> Layout:
    """The tensors of an input that count, in the shape in which they do."""
    entries = [*opened.layout]
    if not subject.selection.takes_all:
        entries = [entry for entry in entries if subject.selection.reason(entry.name) is None]
    if kind != "mask" and not subject.rows and len(entries) == len(opened.layout):
        return opened.layout
    if kind == "mask":
        others = {name: opened.tensors[name].entry for name in subject.layout.names if name in opened.tensors}
        whole = [(name, entry) for name, entry in others.items() if entry.dtype.kind in ("int", "bool")]
        entries += [Entry(name, entry.shape, entry.dtype) for name, entry in whole]
    return Layout.of(entry._replace(shape=subject.fitted(entry.name, entry.shape)) for entry in entries)


class CheckpointSource(Source):
    """The engine's view of an input: elements by name, from one or more open checkpoints."""

    def __init__(self, origin: Origin, readers: Mapping[Path, Reader]) -> None:
        self._tensors = origin.tensors
        self._own = readers[origin.own.checkpoint.path]
        self._borrowed = {name: readers[holder.checkpoint.path] for name, holder in origin.borrowed.items()}

    def _reader(self, name: str) -> Reader:
        return self._borrowed.get(name, self._own)

    def dtype(self, name: str) -> DType:
        """The dtype in which a tensor is stored."""
        return self._tensors[name].entry.dtype

    def reading(self, name: str) -> Fill:
        """What reads elements of a tensor, from one on, as raw bits."""
        return self._reader(name).reading(self._tensors[name])

    def read_tensors(self, names: Sequence[str], spans: Sequence[slice], out: np.ndarray) -> None:
        """Tensors of one dtype, from their first elements on, as raw bits, each into its span."""
        if self._borrowed.keys().isdisjoint(names):
            self._own.read_tensors([self._tensors[name] for name in names], spans, out)
        else:
            for name, span in zip(names, spans, strict=True):
                self._reader(name).read(self._tensors[name], 0, span.stop - span.start, out[span])


def has_nonfinite(opened: Opened, name: str) -> bool:
    """Whether a tensor of an input, by its name in the recipe, has NaN or infinities; reads it to tell."""
    info = opened.tensors.get(name)
    if info is None or not info.entry.dtype.is_float:
        return False
    with opened.checkpoint.open() as reader:
        for start in range(0, info.entry.size, _PIECE):
            bits = reader.bits(info, start, min(start + _PIECE, info.entry.size))
            if convert.nonfinite(bits, info.entry.dtype):
                return True
    return False


def vector_of(opened: Opened, names: Iterable[str]) -> Vector:
    """Tensors of a checkpoint as a vector of no kind, for what compares checkpoints and is no recipe."""
    tensors = {name: opened.tensors[name] for name in names}
    layout = Layout.of(opened.layout[name] for name in tensors)
    return input_vector(Input(opened.name, layout, "other", origin=Origin(opened, tensors, {})))


def sources_of(
    nodes: Iterable[Vector],
    readers: Mapping[Path, Reader],
    make: Callable[[Origin, Mapping[Path, Reader]], CheckpointSource] = CheckpointSource,
) -> dict[Vector, CheckpointSource]:
    """What the engine reads from, for those of the nodes that are inputs."""
    return {node: make(node.source.origin, readers) for node in nodes if node.source is not None}


@contextmanager
def open_readers(checkpoints: Iterable[Checkpoint]) -> Iterator[dict[Path, Reader]]:
    """One reader per file, closed at the end."""
    readers: dict[Path, Reader] = {}
    with ExitStack() as stack:
        for checkpoint in checkpoints:
            if checkpoint.path not in readers:
                readers[checkpoint.path] = stack.enter_context(checkpoint.open())
        yield readers


@contextmanager
def reading(checkpoints: Iterable[Checkpoint]) -> Iterator[dict[Path, Reader]]:
    """The same for what may be done before it is known whether a file has changed meanwhile: CheckpointError then."""
    with open_readers(checkpoints) as readers:
        yield readers
        for reader in readers.values():
            reader.check_unchanged()


def placed(where: str, error: WeightmathError) -> WeightmathError:
    """The error with the place in the recipe before the file it speaks of."""
    error.where = f"{where}: {error.where}" if error.where else None
    return at(where, error)
