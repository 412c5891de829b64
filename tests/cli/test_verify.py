"""`weightmath verify`: what it says and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from tests.cli.conftest import Ran
from weightmath.checkpoint import open_checkpoint
from weightmath.plain import as_json
from weightmath.reports.verification import VerifyReport

Cli = Callable[..., Ran]


@pytest.fixture
def merged(cli: Cli, folder: Path) -> Path:
    assert cli("run", "recipe.yaml").code == 0
    return folder


def damage(path: Path) -> None:
    """Turn the lowest bit of the third element of the first tensor."""
    content = bytearray(path.read_bytes())
    content[open_checkpoint(path).places["0"].offset + 8] ^= 1
    path.write_bytes(content)


def test_an_output_that_is_what_it_says(cli: Cli, merged: Path) -> None:
    ran = cli("verify", "merged.ckpt")
    line = "merged.ckpt is what recipe.yaml makes: 54 elements compared, equal bit for bit\n"
    assert (ran.code, ran.out, ran.err) == (0, line, "")
    sampled = cli("verify", "merged.ckpt", "--sample", "40%", "--seed", 1)
    assert sampled.code == 0
    assert "2 of 5 tiles compared" in sampled.out


def test_one_that_was_damaged(cli: Cli, merged: Path) -> None:
    damage(merged / "merged.ckpt")
    ran = cli("verify", "merged.ckpt")
    assert (ran.code, ran.err) == (1, "")
    assert ran.out.startswith("merged.ckpt is not what recipe.yaml makes\n")
    assert "first     `blocks.0.weight`, element 2: " in ran.out
    assert "1 tensor of 5 different\n  blocks.0.weight  1 element\n" in ran.out
    assert "warning: the checkpoint was changed since it was made" in ran.out


def test_json_is_the_documented_record(cli: Cli, merged: Path) -> None:
    damage(merged / "merged.ckpt")
    ran = cli("verify", "merged.ckpt", "--json")
    assert ran.code == 1
    report = TypeAdapter(VerifyReport).validate_json(ran.out)
    assert as_json(report) + "\n" == ran.out
    assert (report.equal, report.is_untouched, report.elements) == (False, False, 54)
    assert [(one.tensor, one.first) for one in report.differences] == [("blocks.0.weight", 2)]


def test_what_cannot_be_verified(cli: Cli, merged: Path) -> None:
    missing = cli("verify", "base.ckpt")
    assert (missing.code, missing.out) == (2, "")
    assert missing.err.endswith("hint: say how: --recipe RECIPE\n")
    share = json.loads(cli("verify", "merged.ckpt", "--sample", "2", "--json").out)["error"]
    assert share["what"] == "`2` is not a share of more than nothing and at most all"
    assert cli("verify", "base.ckpt", "--recipe", "recipe.yaml").code == 1
