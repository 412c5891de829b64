"""`weightmath check`: check recipes where their checkpoints are not at hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weightmath.cli import options
from weightmath.cli.failures import REFUSED, failing, tell
from weightmath.cli.loading import loading

if TYPE_CHECKING:
    from weightmath.cli.page import Page
    from weightmath.reports.check import CheckReport

Recipes = Annotated[list[Path], typer.Argument(metavar="RECIPE...", help="Recipes to check.")]


def check(recipes: Recipes, json: options.Json = False) -> None:
    """Check recipes without their checkpoints, as far as can be told, for tests of a folder of recipes.

    Checked are YAML, keys, names, formulas, ranges of parameters, and kinds: that an output is one model and not two.
    The rest only checkpoints tell, and `weightmath plan` checks it. Exit code 0 if all recipes are well, else 2.
    """
    with failing(REFUSED, as_json=json):
        with loading():
            from weightmath.cli.page import Page
            from weightmath.plain import as_json
            from weightmath.reports.check import check_report

        reports = [check_report(path) for path in recipes]
        if json:
            print(as_json({"recipes": reports}))
        else:
            page = Page()
            for report in reports:
                _print(page, report)
    if any(report.error for report in reports):
        raise typer.Exit(REFUSED)


_CHECKED = {
    "names": "names are right",
    "formulas": "names and formulas are right",
    "kinds": "names, formulas and kinds are right",
}


def _print(page: Page, report: CheckReport) -> None:
    if report.error is not None:
        from weightmath.errors import WeightmathError

        tell(WeightmathError(report.error.what, where=report.error.where, hint=report.error.hint), as_json=False)
        return
    still = f"; left to the checkpoints: {report.open}" if report.open else ""
    page.line(f"{report.recipe}: {_CHECKED[report.checked or 'names']}{still}")
    page.listed([f"warning: {warning}" for warning in report.warnings], style="yellow")
