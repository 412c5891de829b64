"""`weightmath provenance`: how an output was made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from weightmath.cli import options
from weightmath.cli.failures import REFUSED, failing
from weightmath.cli.loading import loading
from weightmath.cli.printable import printable

if TYPE_CHECKING:
    from weightmath.cli.page import Page
    from weightmath.provenance.coefficients import Coefficient
    from weightmath.provenance.lineage import Original
    from weightmath.provenance.record import Ingredient, Provenance, Record

AsRecipe = Annotated[bool, typer.Option("--recipe", help="Print the recipe alone, as YAML that can be run.")]

_GENERATIONS_SHOWN = 8


def provenance(
    path: options.Checkpoint, as_recipe: AsRecipe = False, everything: options.All = False, json: options.Json = False
) -> None:
    """Show how an output was made: its inputs, theirs, and so on, and what it is made of in the end.

    For weighted sums, the effective coefficient of each original checkpoint is multiplied out through all generations.
    """
    with failing(REFUSED, as_json=json):
        with loading():
            from weightmath import recipe
            from weightmath.checkpoint import open_checkpoint
            from weightmath.errors import RecipeError
            from weightmath.plain import as_json
            from weightmath.reports.provenance import known_provenance, provenance_report

        if as_recipe and (json or everything):
            idle = "--json" if json else "--all"
            raise RecipeError(f"--recipe prints the recipe alone, and {idle} the whole record", hint="keep one")
        checkpoint = open_checkpoint(path)
        if json:
            print(as_json(provenance_report(checkpoint)))
        elif as_recipe:
            print(recipe.text_of(known_provenance(checkpoint).record.recipe), end="")
        else:
            _print(str(path), known_provenance(checkpoint), everything)


def _print(path: str, found: Provenance, everything: bool) -> None:
    from weightmath.cli.page import Page
    from weightmath.provenance.lineage import originals

    page, record = Page(), found.record
    page.line(path, style="bold")
    page.table(
        [
            ["fingerprint", record.fingerprint],
            ["recipe", f"{record.name}, entry `{record.output}` of save, hash {record.hash}"],
            *([["params", _params(record)]] if record.recipe.get("params") else []),
            ["template", record.template],
            ["made with", ", ".join(f"{name} {version}" for name, version in record.versions.items())],
        ]
    )
    page.heading("inputs")
    _print_tree(page, found, everything)
    if found.left_out:
        page.listed([f"the records of {found.left_out:,} more ancestors are left out"], style="dim")
    _print_originals(page, originals(found))


def _params(record: Record) -> str:
    return ", ".join(f"{name}: {value}" for name, value in record.recipe["params"].items())


def _print_tree(page: Page, found: Provenance, everything: bool) -> None:
    """The inputs and what they were made of. A merge that stands in two places is told of once."""
    from rich.text import Text
    from rich.tree import Tree

    root = Tree(Text(printable(found.record.output)), guide_style="dim")
    told: set[str] = set()
    waiting = [(root, found.record, 1)]
    while waiting:
        branch, record, generation = waiting.pop()
        for name, source in record.inputs.items():
            below = branch.add(Text(printable(_ingredient(name, source))))
            made = found.carried(source)
            if made is None:
                continue
            below.add(Text(printable(_origin(made, source, made.digest in told)), style="dim"))
            if made.digest in told or made.fingerprint != source.fingerprint:
                continue
            told.add(made.digest)
            if generation == _GENERATIONS_SHOWN and not everything:
                below.add(Text("...: --all prints it", style="dim"))
            else:
                waiting.append((below, made, generation + 1))
    page.show(root)


def _ingredient(name: str, source: Ingredient) -> str:
    factor = "" if source.coefficient is None else f"{_coefficient(source.coefficient)} x "
    section = f" ({source.section})" if source.section else ""
    return f"{factor}{name}: {source.file}{section}  {source.fingerprint}"


def _origin(made: Record, source: Ingredient, told: bool) -> str:
    if made.fingerprint != source.fingerprint:
        return f"its record tells of another vector, {made.fingerprint}: the file was changed, or has several"
    return f"made by {made.name}" + (", as above" if told else ":")


def _print_originals(page: Page, parts: tuple[Original, ...]) -> None:
    page.heading("effective coefficients")
    if not parts:
        page.listed(["not told: the output is no weighted sum with numbers known beforehand"])
        return
    rows = [
        [_coefficient(part.coefficient), part.file, part.section, part.fingerprint, "a merge" if part.merged else ""]
        for part in parts
    ]
    page.table(rows, head=["", "file", "section", "fingerprint", ""])


def _coefficient(coefficient: Coefficient) -> str:
    """A number, or the range of one that differs by tensor."""
    from weightmath.cli.quantities import number_text
    from weightmath.provenance.coefficients import span

    if coefficient is None:
        return "?"
    least, most = span(coefficient)
    return number_text(least) if least == most else f"{number_text(least)}..{number_text(most)}"
