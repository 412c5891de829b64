"""`weightmath provenance`: the tree, the coefficients, the recipe that can be run again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ran
from weightmath.checkpoint import open_checkpoint
from weightmath.fingerprint import fingerprint

Cli = Callable[..., Ran]


@pytest.fixture
def merged(cli: Cli, folder: Path) -> Path:
    """two.ckpt is made of merged.ckpt, which recipe.yaml makes, and of base.ckpt."""
    assert cli("run", "recipe.yaml", "--set", "strength=0.25").code == 0
    assert cli("run", "-e", "0.5 * m + 0.5 * base", "m=merged.ckpt", "base=base.ckpt", "-o", "two.ckpt").code == 0
    return folder


def mark(name: str) -> str:
    return fingerprint(open_checkpoint(Path(name)).section())


def test_the_tree_and_the_coefficients(cli: Cli, merged: Path) -> None:
    ran = cli("provenance", "two.ckpt")
    assert (ran.code, ran.err) == (0, "")
    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert lines[:2] == ["two.ckpt", f"fingerprint {mark('two.ckpt')}"]
    assert f"├── 0.5 x m: merged.ckpt (state_dict) {mark('merged.ckpt')}" in lines
    assert "│ ├── made by recipe.yaml:" in lines
    assert f"│ ├── 0.5..1 x base: base.ckpt (state_dict) {mark('base.ckpt')}" in lines
    assert f"└── 0.5 x base: base.ckpt (state_dict) {mark('base.ckpt')}" in lines
    # In blocks.*: m = 0.5 base + 0.25 chat + 0.25 code.
    start = lines.index("effective coefficients")
    assert lines[start + 2 :] == [
        f"0.75..1 base.ckpt state_dict {mark('base.ckpt')}",
        f"0..0.125 chat.ckpt state_dict {mark('chat.ckpt')}",
        f"0..0.125 code.ckpt state_dict {mark('code.ckpt')}",
    ]


def test_params_are_those_of_the_run(cli: Cli, merged: Path) -> None:
    assert "strength: 0.25" in cli("provenance", "merged.ckpt").out


def test_the_recipe_makes_the_same_file_again(cli: Cli, merged: Path) -> None:
    again = cli("provenance", "merged.ckpt", "--recipe")
    assert "strength: 0.25\n" in again.out
    before = (merged / "merged.ckpt").read_bytes()
    Path("recipe.yaml").write_text(again.out)
    assert cli("run", "recipe.yaml", "--force").code == 0
    assert (merged / "merged.ckpt").read_bytes() == before


def test_json_has_all_of_it(cli: Cli, merged: Path) -> None:
    report = json.loads(cli("provenance", "two.ckpt", "--json").out)
    assert report["record"]["inputs"]["m"]["record"] in report["ancestors"]
    assert {part["file"]: part["merged"] for part in report["originals"]} == {
        "base.ckpt": False,
        "chat.ckpt": False,
        "code.ckpt": False,
    }


def test_a_merge_that_is_met_twice_is_told_once(cli: Cli, merged: Path) -> None:
    inputs = ["a=merged.ckpt", "b=two.ckpt"]
    assert cli("run", "-e", "0.5 * a + 0.5 * b", *inputs, "-o", "three.ckpt").code == 0
    ran = cli("provenance", "three.ckpt")
    assert ran.out.count("made by recipe.yaml:") == 1
    assert ran.out.count("made by recipe.yaml, as above") == 1


def test_a_checkpoint_that_carries_none(cli: Cli, folder: Path) -> None:
    ran = cli("provenance", "base.ckpt")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "error: base.ckpt: carries no record of how it was made\n"
        "  hint: outputs of weightmath do, but with `provenance: none`; torch.save does not keep it\n"
    )
