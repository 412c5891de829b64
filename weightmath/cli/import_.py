"""`weightmath import`: a recipe out of a configuration of mergekit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weightmath.cli import options
from weightmath.cli.failures import REFUSED, failing
from weightmath.errors import counted, shell_word

if TYPE_CHECKING:
    from weightmath.mergekit import Imported

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="A configuration of mergekit (YAML).")]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FILE", help="The recipe to write; without it, print it.")
]
Like = Annotated[
    str | None,
    typer.Option("--like", metavar="mergekit", help="Take mergekit's scopes and rescaling in place of the papers'."),
]


def import_(
    config: Config,
    output: Output = None,
    like: Like = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Make a recipe of a mergekit configuration, with a comment wherever the two tools compute something different.

    `--like mergekit` makes the results agree up to rounding. Keys that mergekit ignores, since it does not know them,
    are errors here. What weightmath does not do is refused by name: slices that restack layers, mixtures of experts,
    adapters, new tokens.
    """
    with failing(REFUSED, as_json=json):
        from weightmath.mergekit import imported
        from weightmath.text_files import decoded, write_whole

        _check(config, output, like, force=force)
        folder = None if output is None else output.parent
        text = decoded(config.read_bytes(), str(config))
        made = imported(text, str(config), like=like is not None, folder=folder)
        if output is not None:
            write_whole(output, made.text)
        _report(made, config, output, as_json=json)


def _check(config: Path, output: Path | None, like: str | None, *, force: bool) -> None:
    from weightmath.errors import RecipeError
    from weightmath.text_files import check_free

    if like not in (None, "mergekit"):
        raise RecipeError(f"results can be like mergekit's, not like `{like}`", where="--like", hint="--like mergekit")
    options.check_force(force, output, "-o")
    if output is not None:
        exists = "-o another.yaml, or --force to replace it"
        check_free(output, force=force, folder=f"-o {output / config.name}", exists=exists)


def _report(made: Imported, config: Path, output: Path | None, *, as_json: bool) -> None:
    if as_json:
        from weightmath.plain import as_json as text_of

        record = {"config": str(config), "recipe": None if output is None else str(output), "text": made.text}
        print(text_of({**record, "differences": made.differences, "left_out": made.left_out}))
    elif output is None:
        print(made.text, end="")
    else:
        comments = f"{counted(len(made.differences), 'comment')} where mergekit computes something else"
        found = comments if made.differences else "no difference"
        print(f"{output}: {found}; see what it would do: weightmath plan {shell_word(output)}")
    for one in made.left_out if output is not None and not as_json else ():
        print(f"left out: {one.key}: {one.why}", file=sys.stderr)
