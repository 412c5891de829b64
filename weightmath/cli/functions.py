"""`weightmath functions`: what expressions can call."""

from __future__ import annotations

from typing import Annotated

import typer

from weightmath.cli import completion, options

Name = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="Print the manual page of this function.", autocompletion=completion.functions),
]


def functions(name: Name = None, json: options.Json = False) -> None:
    """List the functions that expressions can call, or print the manual page of one."""
    from weightmath.cli.manual import print_manual
    from weightmath.functions import FUNCTIONS

    print_manual("function", dict(sorted(FUNCTIONS.items())), name, as_json=json)
