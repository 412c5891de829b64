"""The page of recipes/lab names what there is, and its commands are command lines of ours."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from weightmath.cli.app import program

LAB = Path(__file__).parent.parent.parent / "recipes" / "lab"
TEXT = (LAB / "README.md").read_text()
COMMANDS = [line for line in TEXT.splitlines() if line.startswith("weightmath ")]


def test_every_recipe_and_script_is_named() -> None:
    recipes = {path.name for path in LAB.glob("*.yaml")}
    assert set(re.findall(r"`(\w+\.yaml)`", TEXT)) == recipes
    assert "python train.py" in TEXT


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_one(command: str) -> None:
    _, name, *arguments = shlex.split(command.partition("#")[0].partition(" > ")[0])
    group = typer.main.get_command(program())
    found = group.commands[name]  # type: ignore[attr-defined]
    if hasattr(found, "commands"):
        name, *arguments = arguments
        found = found.commands[name]
    found.make_context(name, arguments)
