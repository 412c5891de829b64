"""Command lines of pages: whether they are ones that weightmath takes."""

from __future__ import annotations

import re
import shlex

import typer

from weightmath.cli.app import program


def command_lines(page: str) -> list[str]:
    """The lines of a page's shell blocks that call weightmath, without comments and redirections."""
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    found = [re.split(" > | +#", line)[0] for line in lines]
    return [line[line.index("weightmath ") :] for line in found if "weightmath " in line]


def parse(line: str) -> None:
    """Take the words of a command line as its command would; click's UsageError for what it does not take."""
    _, name, *arguments = shlex.split(line)
    command = typer.main.get_command(program()).commands[name]  # type: ignore[attr-defined]
    if hasattr(command, "commands"):
        name, *arguments = arguments
        command = command.commands[name]
    command.make_context(name, arguments)
