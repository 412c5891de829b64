"""The fingerprint of a checkpoint's vector."""

from __future__ import annotations

from dataclasses import dataclass

from weightmath.files.inputs import Opened
from weightmath.fingerprint import fingerprint


@dataclass(frozen=True)
class FingerprintReport:
    """A fingerprint and what it is of: all tensors of a section, floats and others.

    section      dotted path; "" is the top level
    fingerprint  `wm1:` and 32 digits
    """

    path: str
    section: str
    tensors: int
    fingerprint: str


def fingerprint_report(opened: Opened, threads: int) -> FingerprintReport:
    """Read all tensors of a section, and report their fingerprint. Fails with CheckpointError."""
    own = [name for name in opened.section.tensors if name.startswith(opened.prefix)]
    found = fingerprint(opened.section, opened.prefix, threads=threads)
    return FingerprintReport(str(opened.checkpoint.path), opened.place, len(own), found)
