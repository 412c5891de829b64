"""How an output was made, from the record that it carries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from weightmath.checkpoint import Checkpoint
from weightmath.delta.mark import is_delta
from weightmath.errors import CheckpointError, shell_word
from weightmath.provenance.lineage import Original, originals, provenance_of
from weightmath.provenance.record import Provenance


@dataclass(frozen=True)
class ProvenanceReport:
    """How an output was made.

    record     the output's own record: recipe, inputs, coefficients, fingerprints, versions
    ancestors  records of inputs that are outputs themselves, and of theirs, by digest
    left_out   how many more there were
    originals  what it is made of in the end, and the effective coefficients; empty where it is no weighted sum
    """

    path: str
    record: dict[str, Any]
    ancestors: dict[str, dict[str, Any]]
    left_out: int
    originals: tuple[Original, ...]


def known_provenance(checkpoint: Checkpoint) -> Provenance:
    """The provenance that a checkpoint carries; CheckpointError where it carries none, or one that cannot be read."""
    found = provenance_of(checkpoint)
    if found is None and is_delta(checkpoint):
        raise CheckpointError(
            "carries no recipe, as `delta make` writes it",
            where=str(checkpoint.path),
            hint=f"weightmath delta info {shell_word(checkpoint.path)} shows base, fine-tune and encoding",
        )
    if found is None:
        raise CheckpointError(
            "carries no record of how it was made",
            where=str(checkpoint.path),
            hint="outputs of weightmath do, but with `provenance: none`; torch.save does not keep it",
        )
    return found


def provenance_report(checkpoint: Checkpoint) -> ProvenanceReport:
    """The report of a checkpoint. Fails as `known_provenance` does."""
    found = known_provenance(checkpoint)
    plain = found.model_dump(mode="json")
    return ProvenanceReport(str(checkpoint.path), plain["record"], plain["ancestors"], found.left_out, originals(found))
