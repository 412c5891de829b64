"""The README's promises: every test that it names as the proof of one exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def missing(text: str) -> list[str]:
    """Tests that a text names and that are not there."""
    return [f"{path}::{name}" for path, name in NAMED.findall(text) if name not in functions_of(ROOT / path)]


def functions_of(path: Path) -> set[str]:
    if not path.exists():
        return set()
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


def test_every_named_test_exists() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(NAMED.findall(text)) > 30
    assert missing(text) == []


def test_a_name_can_be_missing() -> None:
    here = "`tests/test_promises.py::test_every_named_test_exists`"
    assert missing(here) == []
    assert missing(here.replace("every", "any")) == ["tests/test_promises.py::test_any_named_test_exists"]
    assert missing("`tests/nowhere.py::test_x`") == ["tests/nowhere.py::test_x"]
