"""What a verification found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from weightmath.verify.comparison import Difference
from weightmath.verify.verification import Verification


@dataclass(frozen=True)
class OtherInput:
    """An input that is not the one that the record tells of: fingerprints."""

    recorded: str
    found: str


@dataclass(frozen=True)
class VerifyReport:
    """What a verification found.

    equal          whether all that was compared is equal bit for bit
    recipe         what was run again
    inputs         path of each input
    tensors        of the output's section; `elements` are those that were compared
    tiles          how many tiles of `tiles_in_all` were compared; None where all was
    differences    tensors that are not as the recipe makes them, by name
    other_inputs   inputs that are not those of the record; none are known of where a sample was compared
    is_untouched   whether the checkpoint still has the fingerprint that its record says; None where it does not matter
    reads          times that the inputs were read
    """

    path: str
    equal: bool
    recipe: str
    inputs: Mapping[str, str]
    tensors: int
    elements: int
    tiles: int | None
    tiles_in_all: int | None
    differences: tuple[Difference, ...]
    other_inputs: Mapping[str, OtherInput]
    is_untouched: bool | None
    reads: int


def verify_report(found: Verification) -> VerifyReport:
    """The record of a verification."""
    sample = found.sample
    return VerifyReport(
        path=str(found.checkpoint.path),
        equal=not found.differences,
        recipe=found.job.recipe.document.name,
        inputs={name: str(opened.checkpoint.path) for name, opened in found.job.inputs.items()},
        tensors=found.tensors,
        elements=found.elements,
        tiles=None if sample is None else sample.size,
        tiles_in_all=None if sample is None else sample.among,
        differences=found.differences,
        other_inputs={name: OtherInput(*marks) for name, marks in found.other_inputs.items()},
        is_untouched=found.is_untouched,
        reads=found.reads,
    )
