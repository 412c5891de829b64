"""Whether the bytes of a checkpoint are those that were written: its checksums, and the fingerprint that it carries."""

from __future__ import annotations

from dataclasses import replace

from weightmath.checkpoint import Checkpoint, Integrity, Section, verify_container
from weightmath.delta.container import delta_of, problems_of
from weightmath.delta.mark import is_delta
from weightmath.errors import CheckpointError
from weightmath.fingerprint import fingerprint
from weightmath.provenance.lineage import provenance_of
from weightmath.provenance.record import Record


def checked(checkpoint: Checkpoint) -> tuple[Integrity, bool | None]:
    """What a reading of all bytes finds; and whether the weights have the fingerprint that an output's record says.

    None where it carries no record, or where checksums tell all, as in a delta file.
    """
    if is_delta(checkpoint):
        problems = problems_of(delta_of(checkpoint))
        return Integrity(len(checkpoint.tensors), 0, tuple(problems)), None
    found = verify_container(checkpoint)
    try:
        history = provenance_of(checkpoint)
    except CheckpointError as error:
        return replace(found, problems=(*found.problems, error.what)), None
    if history is None:
        return found, None
    mark = fingerprint(_section(checkpoint, history.record))
    if mark == history.record.fingerprint:
        return found, True
    fact = (
        f"the weights have fingerprint {mark}, and the record of how they were made says {history.record.fingerprint}"
    )
    return replace(found, problems=(*found.problems, fact)), False


def _section(checkpoint: Checkpoint, record: Record) -> Section:
    """The section that the record tells of: its template's, or the only one where the container has no sections."""
    place = record.inputs[record.template].section if record.template in record.inputs else ""
    names = [one.name for one in checkpoint.sections if f"{place}.".startswith(f"{one.name}.") or not one.name]
    return checkpoint.section(max(names, key=len)) if names else checkpoint.section()
