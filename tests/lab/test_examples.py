"""The page of recipes/lab names what there is, and its commands are command lines of ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.command_lines import command_lines, parse

LAB = Path(__file__).parent.parent.parent / "recipes" / "lab"
TEXT = (LAB / "README.md").read_text()


def test_every_recipe_and_script_is_named() -> None:
    recipes = {path.name for path in LAB.glob("*.yaml")}
    assert set(re.findall(r"`(\w+\.yaml)`", TEXT)) == recipes
    assert "python train.py" in TEXT


@pytest.mark.parametrize("line", command_lines(TEXT))
def test_a_command_is_one(line: str) -> None:
    parse(line)
