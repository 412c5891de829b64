"""Every command has help that ends with an example which is a command line of it."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest
import typer

from tests.cli.conftest import Ran
from weightmath.cli.app import program

Cli = Callable[..., Ran]
COMMANDS = [info.name for info in program().registered_commands if info.name]


def test_all_commands_are_listed(cli: Cli) -> None:
    ran = cli("--help")
    assert (ran.code, ran.err) == (0, "")
    for name in COMMANDS:
        assert f"\n  {name} " in ran.out


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_an_example(cli: Cli, name: str) -> None:
    ran = cli(name, "--help")
    assert (ran.code, ran.err) == (0, "")
    heading, *examples = ran.out.rstrip("\n").rpartition("\n\n")[2].splitlines()
    assert heading.strip() in ("Example:", "Examples:")
    for example in examples:
        name_of_program, command, *arguments = shlex.split(example.partition(" > ")[0])
        assert (name_of_program, command) == ("weightmath", name)
        _parse(name, arguments)


def _parse(name: str, arguments: list[str]) -> None:
    """Fail where the command does not take these arguments."""
    group = typer.main.get_command(program())
    group.commands[name].make_context(name, arguments)  # type: ignore[attr-defined]


def test_mistakes_in_the_command_line(cli: Cli) -> None:
    for arguments in (["bogus"], ["run"], ["run", "a.yaml", "--bogus"], ["run", "a.yaml", "--threads", "0"]):
        ran = cli(*arguments)
        assert (ran.code, ran.out) == (2, "")
        assert "Traceback" not in ran.err
        assert ran.err.startswith("Usage: ")
