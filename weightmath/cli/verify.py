"""`weightmath verify`: compute an output again and compare it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weightmath.cli import options
from weightmath.cli.answer import answer
from weightmath.cli.failures import FAILED, REFUSED, failing
from weightmath.cli.loading import loading
from weightmath.errors import counted

if TYPE_CHECKING:
    from weightmath.reports.verification import VerifyReport
    from weightmath.verify.comparison import Difference

Sample = Annotated[
    str | None, typer.Option("--sample", metavar="SHARE", help="Compare a share of the tiles only: 1%, 0.05.")
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Chooses the sample (0).", show_default=False)]
OtherRecipe = Annotated[
    Path | None, typer.Option("--recipe", metavar="RECIPE", help="What made it, in place of what it carries.")
]

_NAMES_SHOWN = 12


def verify(
    path: options.Checkpoint,
    sample: Sample = None,
    seed: Seed = None,
    recipe: OtherRecipe = None,
    sets: options.Set = None,
    inputs: options.Input = None,
    threads: options.Threads = None,
    memory: options.Memory = None,
    json: options.Json = False,
) -> None:
    """Compute an output again from its inputs and compare it bit for bit.

    The recipe is the one that the checkpoint carries; its inputs are looked for where they lay as seen from it, and
    beside it. A sample is quick, but for norms and selections of a layer or the whole model, which still read all of
    it. Exit code 0: all that was compared is equal; 1: something differs; 2: it cannot be computed again.
    """
    with failing(REFUSED, as_json=json):
        with loading():
            from weightmath.cli.progress import progress_bar
            from weightmath.cli.quantities import parse_share
            from weightmath.errors import RecipeError
            from weightmath.reports.verification import verify_report
            from weightmath.sizes import parse_size
            from weightmath.verify.verification import verify as verified

        if seed is not None and sample is None:
            raise RecipeError("--seed chooses a sample, and all is compared", hint="--sample 1%, or leave it out")
        with progress_bar("verifying", wanted=not json) as progress:
            found = verified(
                path,
                recipe=recipe,
                sets=sets or (),
                inputs=inputs or (),
                share=parse_share(sample) if sample else None,
                seed=seed or 0,
                threads=threads,
                memory=parse_size(memory),
                progress=progress,
            )
        report = verify_report(found)
        answer(report, _print, as_json=json)
    if not report.equal:
        raise typer.Exit(FAILED)


def _print(report: VerifyReport) -> None:
    from weightmath.cli.page import Page

    page = Page()
    compared = counted(report.elements, "element")
    if report.tiles is not None:
        compared += f", {report.tiles:,} of {report.tiles_in_all:,} tiles"
    if report.equal:
        page.line(f"{report.path} is what {report.recipe} makes: {compared} compared, equal bit for bit")
        return
    page.line(f"{report.path} is not what {report.recipe} makes", style="bold")
    page.table([["compared", compared], ["first", _first(report.differences[0])]])
    page.heading(f"{counted(len(report.differences), 'tensor')} of {report.tensors:,} different")
    page.table([[one.tensor, _what(one)] for one in report.differences[:_NAMES_SHOWN]])
    page.rest(len(report.differences) - _NAMES_SHOWN, where=": --json prints all")
    notes = [
        f"the input `{name}` is another one: it has fingerprint {other.found}, and the record says {other.recorded}"
        for name, other in report.other_inputs.items()
    ]
    if report.is_untouched is False:
        notes.append("the checkpoint was changed since it was made: it no longer has the fingerprint that it carries")
    page.warnings(notes)


def _first(one: Difference) -> str:
    if one.first is None:
        return f"`{one.tensor}`: {one.fact}"
    return f"`{one.tensor}`, element {one.first:,}: {one.found!r} in place of {one.expected!r}"


def _what(one: Difference) -> str:
    return one.fact if one.first is None else counted(one.different, "element")
