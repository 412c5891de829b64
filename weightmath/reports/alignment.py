"""One model brought into the order of another: the record of `align`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from weightmath.align import Alignment
from weightmath.align.matching import Likeness


@dataclass(frozen=True)
class LikenessRecord:
    """How near A and B are in the tensors that move: inner product (what is matched), cosine, and norm(A - B)."""

    product: float
    cosine: float
    distance: float


@dataclass(frozen=True)
class PermutationRow:
    """One permutation: how many units it has, how many got another place, and how many axes move with it."""

    name: str
    units: int
    moved: int
    axes: int


@dataclass(frozen=True)
class LeftOut:
    """A permutation that was not made, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class AlignReport:
    """What `align` did.

    spec             the family or file that says what moves together
    before, after    likeness of A and B, and of A and the output
    sweeps           how often all permutations were looked at; `converged`: the last one changed nothing
    metric_before, metric_after   of B and of the output; or None
    """

    output: str
    spec: str
    before: LikenessRecord
    after: LikenessRecord
    sweeps: int
    converged: bool
    permutations: tuple[PermutationRow, ...]
    left_out: tuple[LeftOut, ...]
    metric_before: Mapping[str, float] | None
    metric_after: Mapping[str, float] | None
    warnings: tuple[str, ...]


def align_report(found: Alignment) -> AlignReport:
    """The record of an alignment."""
    matching, moved = found.matching, found.matching.moved
    before, after = found.metric or (None, None)
    return AlignReport(
        output=str(found.job.save.path),
        spec=found.job.family,
        before=_likeness(matching.before),
        after=_likeness(matching.after),
        sweeps=matching.sweeps,
        converged=matching.converged,
        permutations=tuple(
            PermutationRow(one.name, one.size, moved[one.name], len(one.moves)) for one in found.job.spec.permutations
        ),
        left_out=tuple(LeftOut(*pair) for pair in found.job.spec.left_out),
        metric_before=before,
        metric_after=after,
        warnings=found.warnings,
    )


def _likeness(one: Likeness) -> LikenessRecord:
    return LikenessRecord(one.ab, one.cosine, one.distance)
