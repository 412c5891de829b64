"""`weightmath lock`: pin the inputs of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weightmath.cli import options
from weightmath.cli.answer import answer
from weightmath.cli.failures import REFUSED, failing
from weightmath.cli.loading import loading

if TYPE_CHECKING:
    from weightmath.reports.lock import LockReport

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe; its text is changed.")]
Sums = Annotated[bool, typer.Option("--sha256", help="Pin the sha256 sums of the files too.")]


def lock(path: RecipePath, sums: Sums = False, threads: options.Threads = None, json: options.Json = False) -> None:
    """Write the fingerprints of its inputs into a recipe, so that it refuses to run with any others.

    Comments and style of the recipe stay. A fingerprint tells accidents and costs a run no further reading; a sha256
    sum tells malice too, and is checked before the work.
    """
    with failing(REFUSED, as_json=json):
        with loading():
            from weightmath.engine.memory import threads_of
            from weightmath.lock import lock as locked
            from weightmath.reports.lock import lock_report

        answer(lock_report(locked(path, sums=sums, threads=threads_of(threads))), _print, as_json=json)


def _print(report: LockReport) -> None:
    from weightmath.cli.page import Page

    page = Page()
    page.line(f"{report.recipe}: {'pinned' if report.changed else 'was pinned so already'}", style="bold")
    page.table([[one.name, one.fingerprint, *([one.sha256] if one.sha256 else []), one.path] for one in report.inputs])
