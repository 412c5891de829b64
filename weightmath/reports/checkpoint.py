"""What a checkpoint holds: its sections, the tensors of one, and everything else as a tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice

from weightmath.checkpoint import Checkpoint, Integrity, Opaque, Section, Storage, TensorInfo
from weightmath.errors import CheckpointError

_SHARES_LISTED = 20


@dataclass(frozen=True)
class SectionReport:
    """One mapping that directly holds tensors.

    name      dotted path; "" is the top level
    chosen    whether it is the vector, unless `section:` names another
    tensors   all of it; `values` are the elements of its floating-point tensors
    dtypes    number of tensors by dtype
    twins     other sections, and prefixes within it, that hold the same names
    """

    name: str
    chosen: bool
    tensors: int
    values: int
    dtypes: Mapping[str, int]
    twins: tuple[str, ...]


@dataclass(frozen=True)
class TensorReport:
    """One tensor of the section.

    start, stop  its range in the flat vector; None outside the vector
    device       where torch.load puts it
    shares       other tensors of the checkpoint, by dotted path, that lie in the same storage; at most 20
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    start: int | None
    stop: int | None
    device: str
    shares: tuple[str, ...]


@dataclass(frozen=True)
class CheckpointReport:
    """What a checkpoint holds.

    section     the section that is shown, or None where none holds tensors
    values      length of its vector
    tensors     of the section, in the order of the vector; then those outside it, in the order of the file
    not_plain   names beside its tensors that hold weights in another form: quantized, packed, sparse, of a subclass
    check       what a reading of all bytes has found, if it was asked for
    recorded    whether the weights have the fingerprint that an output carries; None: not asked for, or it carries none
    everything  the whole content as nested objects and lists; a tensor is {"tensor": dotted path}, an object of a class
                {"class": name, "content": what can be shown of it}, a text of bytes {"bytes": its length}
    """

    path: str
    container: str
    writer: str
    bytes: int
    sections: tuple[SectionReport, ...]
    section: str | None
    values: int
    tensors: tuple[TensorReport, ...] = field(repr=False)
    not_plain: tuple[str, ...]
    everything: object = field(repr=False)
    check: Integrity | None = None
    recorded: bool | None = None


def checkpoint_report(checkpoint: Checkpoint, section: str | None = None, *, check: bool = False) -> CheckpointReport:
    """The record of a checkpoint; CheckpointError where it has no section of that name.

    check   read all bytes, and compare them with the checksums and the fingerprint in the file
    """
    found, recorded = None, None
    if check:
        # Imported when it is asked for: checks know of deltas and records, which are as much again to import.
        from weightmath.reports.checking import checked

        found, recorded = checked(checkpoint)
    usual = _usual(checkpoint)
    shown = checkpoint.section(section) if section is not None else usual
    return CheckpointReport(
        path=str(checkpoint.path),
        container=checkpoint.container,
        writer=checkpoint.writer,
        bytes=checkpoint.size,
        sections=tuple(_section(one, one is usual) for one in checkpoint.sections),
        section=shown.name if shown else None,
        values=shown.layout.size if shown else 0,
        tensors=_tensors(shown) if shown else (),
        not_plain=shown.not_plain if shown else (),
        everything=content(checkpoint.tree),
        check=found,
        recorded=recorded,
    )


def _usual(checkpoint: Checkpoint) -> Section | None:
    """The section that is the vector when none is named; None where nothing can be the weights."""
    try:
        return checkpoint.section()
    except CheckpointError:
        return None


def _section(section: Section, chosen: bool) -> SectionReport:
    dtypes = dict(Counter(info.entry.dtype.name for info in section.tensors.values()))
    # Names are only compared with those of what could be the vector: an optimizer has thousands of small sections.
    twins = section.twins if chosen else ()
    return SectionReport(section.name, chosen, len(section.tensors), section.layout.size, dtypes, twins)


def _tensors(section: Section) -> tuple[TensorReport, ...]:
    users: dict[Storage, list[TensorInfo]] = {}
    for info in section.checkpoint.tensors:
        users.setdefault(info.storage, []).append(info)
    offsets = section.layout.offsets
    inside = [(section.tensors[name], offsets[i], offsets[i + 1]) for i, name in enumerate(section.layout.names)]
    outside = [info for info in section.tensors.values() if not info.entry.dtype.is_float]
    return (
        *(_tensor(info, users, start, stop) for info, start, stop in inside),
        *(_tensor(info, users, None, None) for info in outside),
    )


def _tensor(
    info: TensorInfo, users: Mapping[Storage, list[TensorInfo]], start: int | None, stop: int | None
) -> TensorReport:
    others = (other.dotted for other in users[info.storage] if other is not info)
    shares = tuple(islice(others, _SHARES_LISTED))  # of one flat storage with thousands of views this is enough
    entry = info.entry
    return TensorReport(entry.name, entry.shape, entry.dtype.name, start, stop, info.storage.device, shares)


def content(tree: object) -> object:
    """Everything in a checkpoint as JSON can say it."""
    if isinstance(tree, TensorInfo):
        return {"tensor": tree.dotted}
    if isinstance(tree, Opaque):
        return {"class": tree.name, "content": content(tree.content)}
    if isinstance(tree, Mapping):
        return {str(key): content(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [content(value) for value in tree]
    if isinstance(tree, bytes | bytearray):
        return {"bytes": len(tree)}
    return tree
