"""`weightmath methods`: the merge methods."""

from __future__ import annotations

from typing import Annotated

import typer

from weightmath.cli import completion, options

Name = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="Print the manual page of this method.", autocompletion=completion.methods),
]


def methods(name: Name = None, json: options.Json = False) -> None:
    """List the merge methods, or print the manual page of one."""
    from weightmath.cli.manual import print_manual
    from weightmath.methods import load

    print_manual("method", load(), name, as_json=json)
