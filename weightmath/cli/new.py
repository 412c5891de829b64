"""`weightmath new`: begin with a recipe of the gallery."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weightmath.cli import completion, options
from weightmath.cli.failures import REFUSED, failing
from weightmath.errors import shell_word

if TYPE_CHECKING:
    from weightmath.gallery import Starter

Kind = Annotated[
    str | None,
    typer.Argument(
        metavar="KIND", help="The recipe to begin with; without it, list all.", autocompletion=completion.kinds
    ),
]
Output = Annotated[
    str | None, typer.Option("-o", "--output", metavar="FILE", help="The file to write; - prints it instead.")
]


def new(kind: Kind = None, output: Output = None, force: options.Force = False, json: options.Json = False) -> None:
    """Write a recipe to begin with, commented, or list what there is.

    The file is called like the recipe unless --output names it. Change its paths, then see what it would do:
    `weightmath plan`.
    """
    with failing(REFUSED, as_json=json):
        from weightmath.gallery import starter, starters

        _check_used(kind, output, force=force, as_json=json)
        if kind is None:
            _list(starters(), as_json=json)
        elif output == "-":
            print(starter(kind).text, end="")
        else:
            _write(starter(kind), Path(output or starter(kind).file_name), force=force, as_json=json)


def _check_used(kind: str | None, output: str | None, *, force: bool, as_json: bool) -> None:
    """Refuse options that would do nothing."""
    from weightmath.errors import RecipeError

    if kind is None and (output is not None or force):
        idle = "--force" if output is None else "--output"
        raise RecipeError(f"{idle} is about a recipe that is written, and none is named", hint="weightmath new KIND")
    if output == "-" and (force or as_json):
        idle = "--force replaces a file" if force else "--json is about a file"
        raise RecipeError(f"{idle}, and `-o -` prints the recipe itself", hint="keep one")


def _list(known: dict[str, Starter], *, as_json: bool) -> None:
    if as_json:
        from weightmath.plain import as_json as text_of

        print(text_of({"recipes": [{"kind": one.kind, "want": one.want} for one in known.values()]}))
        return
    from weightmath.cli.page import Page

    page = Page()
    page.line("weightmath new KIND, for whoever wants to ...")
    page.table([[one.kind, one.want] for one in known.values()])


def _write(one: Starter, path: Path, *, force: bool, as_json: bool) -> None:
    from weightmath.text_files import check_free, write_whole

    exists = "-o another.yaml, or --force to replace it"
    check_free(path, force=force, folder=f"-o {path / one.file_name}", exists=exists)
    write_whole(path, one.text)
    if as_json:
        from weightmath.plain import as_json as text_of

        print(text_of({"kind": one.kind, "path": str(path)}))
    else:
        print(f"{path}: change its paths, then: weightmath plan {shell_word(path)}")
