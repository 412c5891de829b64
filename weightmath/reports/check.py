"""What a check of a recipe without its checkpoints found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from weightmath.errors import WeightmathError
from weightmath.recipe import load
from weightmath.rehearsal import rehearse
from weightmath.reports.plan import Refusal


@dataclass(frozen=True)
class CheckReport:
    """One recipe.

    checked   how far it could be checked: "names", "formulas" or "kinds", each with those before it; None: not at all
    open      why not further, or ""
    warnings  what nothing uses
    error     what is wrong, or None
    """

    recipe: str
    checked: str | None
    open: str
    warnings: tuple[str, ...]
    error: Refusal | None


def check_report(path: Path) -> CheckReport:
    """The record of one recipe; what is wrong with it is part of the record."""
    try:
        found = rehearse(load(path))
    except WeightmathError as error:
        return CheckReport(str(path), None, "", (), Refusal(error.what, error.where, error.hint))
    return CheckReport(str(path), found.checked, found.open, found.warnings, None)
