"""What a soup is made of."""

from __future__ import annotations

from dataclasses import dataclass

from weightmath.lab.soup import Soup, Souped
from weightmath.lab.table import Row, paths


@dataclass(frozen=True)
class SoupReport:
    """What a soup is made of, and how it was chosen.

    checkpoint   the output
    rule         "greedy" or "uniform"
    goal         whether more of a score is better ("max") or less ("min")
    models       the files that were named
    ingredients  those that the soup is made of, in the order in which they were kept
    score        of the soup; None where nothing measured it
    best         the best score of a model alone; None where none is known
    table        the results table, where something was measured or told
    rows         its rows: scores of models alone, then of averages and whether they were kept
    warnings     what makes the average doubtful
    """

    checkpoint: str
    rule: str
    goal: str
    models: tuple[str, ...]
    ingredients: tuple[str, ...]
    score: float | None
    best: float | None
    table: str | None
    rows: tuple[Row, ...]
    warnings: tuple[str, ...]


def soup_report(soup: Soup, found: Souped) -> SoupReport:
    """The record of a soup."""
    return SoupReport(
        checkpoint=str(found.checkpoint),
        rule=soup.rule,
        goal=soup.goal,
        models=tuple(map(str, soup.models)),
        ingredients=tuple(map(str, found.ingredients)),
        score=found.score,
        best=found.best,
        table=str(paths(soup.stem)[0]) if found.table.rows else None,
        rows=found.table.rows,
        warnings=soup.warnings,
    )
