"""What was pinned in a recipe."""

from __future__ import annotations

from dataclasses import dataclass

from weightmath.lock import Locked


@dataclass(frozen=True)
class PinnedFile:
    """One file: its input's name (of a list with its number), its path, and its pins."""

    name: str
    path: str
    fingerprint: str
    sha256: str | None


@dataclass(frozen=True)
class LockReport:
    """The pins of a recipe, and whether its text was changed."""

    recipe: str
    changed: bool
    inputs: tuple[PinnedFile, ...]


def lock_report(locked: Locked) -> LockReport:
    """The record of what was pinned."""
    files = []
    for name, pins in locked.pins.items():
        members = locked.inputs.of(name)
        sums = pins.get("sha256") or (None,) * len(members)
        for opened, mark, checksum in zip(members, pins["fingerprint"], sums, strict=True):
            files.append(PinnedFile(opened.name, str(opened.checkpoint.path), mark, checksum))
    return LockReport(str(locked.inputs.recipe.path), locked.changed, tuple(files))
