"""What a delta file says of itself, what applying one wrote, and how two of them compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightmath.delta.compare import Alike
from weightmath.delta.container import DeltaFile


@dataclass(frozen=True)
class SideReport:
    """A base or tuned checkpoint: the name that its file had, its section and fingerprint."""

    file: str
    section: str
    fingerprint: str | None


@dataclass(frozen=True)
class TensorReport:
    """One tensor of a delta.

    encoder   step, xor, plain: exact; sparse, int8, sign, low-rank, dense: numbers
    bytes     in the delta file; `raw_bytes` those of the tuned tensor
    error     |tuned - base - delta| / |tuned - base|; None for exact ones
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    encoder: str
    bytes: int
    raw_bytes: int
    error: float | None
    norm: float | None
    rank: int | None


@dataclass(frozen=True)
class DeltaReport:
    """A delta file.

    whole_file   whether the tuned file comes back to the byte, and then its size
    ratio        bytes of the delta file by those of the tuned file, or of its tensors where that is not known
    error        relative error over all tensors
    """

    path: str
    kind: str
    options: Mapping[str, Any]
    base: SideReport
    tuned: SideReport | None
    bytes: int
    whole_file: int | None
    ratio: float
    error: float | None
    by: str
    tensors: tuple[TensorReport, ...]


def delta_report(file: DeltaFile) -> DeltaReport:
    """The record of a delta file."""
    delta = file.delta
    tensors = tuple(
        TensorReport(
            name, record.entry.shape, record.entry.dtype.name, record.encoder, sum(record.sizes), record.entry.nbytes,
            record.error, record.norm, record.rank,
        )
        for name, record in delta.records.items()
    )  # fmt: skip
    raw = delta.whole.size if delta.whole else sum(tensor.raw_bytes for tensor in tensors)
    tuned = delta.tuned
    return DeltaReport(
        path=str(file.path),
        kind=delta.kind,
        options=delta.options,
        base=SideReport(delta.base.file, delta.base.section, delta.base.fingerprint),
        tuned=SideReport(tuned.file, tuned.section, tuned.fingerprint) if tuned else None,
        bytes=file.size,
        whole_file=delta.whole.size if delta.whole else None,
        ratio=file.size / raw if raw else 1.0,
        error=delta.error,
        by=delta.by,
        tensors=tensors,
    )


@dataclass(frozen=True)
class AlikeReport:
    """Two deltas over one tensor, or over all.

    sign_agreement   share of the elements that both change in which they have one sign
    overlap          elements that both change, as a share of those that either does
    """

    norm_first: float
    norm_second: float
    cosine: float
    sign_agreement: float
    overlap: float


@dataclass(frozen=True)
class ComparisonReport:
    """Two deltas of one base, over all tensors and each."""

    first: str
    second: str
    whole: AlikeReport
    tensors: Mapping[str, AlikeReport]


def comparison_report(first: Path, second: Path, found: Mapping[str, Alike]) -> ComparisonReport:
    """The record of a comparison."""
    tensors = {name: _alike(alike) for name, alike in found.items()}
    return ComparisonReport(str(first), str(second), _alike(sum(found.values(), Alike())), tensors)


def _alike(alike: Alike) -> AlikeReport:
    return AlikeReport(*alike.norms, alike.cosine, alike.sign_agreement, alike.overlap)
