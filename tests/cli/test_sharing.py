"""Options that commands share as one value: where they stand among a command's own, and what the command gets."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from weightmath.cli.sharing import sharing


@dataclass(frozen=True)
class Shared:
    """What must be given, and what may be."""

    must: Annotated[str, typer.Option("--must")]
    may: Annotated[int, typer.Option("--may", min=1, help="A number.")] = 3


@sharing
def command(first: str, shared: Shared, own: int = 1) -> None:
    """Print what is given."""
    print(first, shared, own)


def test_what_must_be_given_stands_before_a_commands_own_and_the_rest_after() -> None:
    assert [(one.name, one.default) for one in signature(command).parameters.values()] == [
        ("first", signature(command).empty),
        ("must", signature(command).empty),
        ("own", 1),
        ("may", 3),
    ]
    assert (command.__name__, command.__doc__) == ("command", "Print what is given.")


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["a", "--must", "b"], "a Shared(must='b', may=3) 1\n"),
        (["a", "--must", "b", "--own", "2", "--may", "4"], "a Shared(must='b', may=4) 2\n"),
    ],
)
def test_a_command_gets_them_as_one_value(arguments: list[str], printed: str) -> None:
    app = typer.Typer()
    app.command()(command)
    assert CliRunner().invoke(app, arguments).output == printed
    assert CliRunner().invoke(app, [*arguments, "--may", "0"]).exit_code == 2
