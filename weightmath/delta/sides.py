"""Which base a delta belongs to, and what to say where another one is given."""

from __future__ import annotations

from collections.abc import Mapping

from weightmath import __version__
from weightmath.checkpoint import Section
from weightmath.checkpoint.hub import called
from weightmath.delta.container import DeltaFile
from weightmath.delta.description import Side
from weightmath.delta.mark import is_delta
from weightmath.errors import CheckpointError, LayoutError, shell_word
from weightmath.fingerprint import Digests, fingerprint
from weightmath.layout import Layout

BY = f"weightmath {__version__}"


def side_of(section: Section, threads: int, name: str | None = None, *, seen: Digests | None = None) -> Side:
    """What a delta says about a checkpoint; reads what has not been seen of its section. `name`: the file's."""
    layout = Layout.of(tensor.entry for tensor in section.tensors.values())
    file = name or called(section.checkpoint.path)
    return Side(file, section.name, fingerprint(section, seen=seen, threads=threads), layout.fingerprint)


def check_no_delta(section: Section) -> None:
    """CheckpointError for a delta file where a checkpoint is needed: its tensors are packed bytes."""
    path = section.checkpoint.path
    if is_delta(section.checkpoint):
        raise CheckpointError(
            "is a delta file, and a checkpoint is needed here",
            where=str(path),
            hint=f"weightmath delta apply BASE {shell_word(path)} -o FILE writes the checkpoint; "
            "weightmath delta compose joins two deltas",
        )


def check_base(file: DeltaFile, known: Mapping[str, int], given: Side, *, any_base: bool) -> None:
    """LayoutError unless the delta's base is one that is at hand.

    known      fingerprints that are at hand: the base's, and those that earlier deltas lead to
    any_base   another base will do if its tensors have the same names and shapes
    """
    wanted = file.delta.base
    if wanted.fingerprint in known:
        return
    if not any_base:
        raise LayoutError(
            f"belongs to another base: {wanted.file} ({wanted.fingerprint}), not {given.file} ({given.fingerprint})",
            where=str(file.path),
            hint="give the base that it was made from; --any-base adds the differences to this one all the same",
        )
    if wanted.layout != given.layout:
        raise LayoutError(
            f"its base {wanted.file} has other tensors than {given.file}, by name or shape",
            where=str(file.path),
            hint="a delta can only be added to a base with the same tensors",
        )
