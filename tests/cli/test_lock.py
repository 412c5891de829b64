"""`weightmath lock`: what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from pydantic import TypeAdapter

from tests.cli.conftest import Ran
from weightmath.checkpoint import open_checkpoint
from weightmath.file_sums import sha256_of
from weightmath.fingerprint import fingerprint
from weightmath.plain import as_json
from weightmath.reports.lock import LockReport

Cli = Callable[..., Ran]


def test_pins_are_written_and_shown(cli: Cli, folder: Path) -> None:
    ran = cli("lock", "recipe.yaml")
    marks = {name: fingerprint(open_checkpoint(Path(f"{name}.ckpt")).section()) for name in ("base", "chat", "code")}
    assert (ran.code, ran.err) == (0, "")
    rows = [f"  {name}  {mark}  {name}.ckpt" for name, mark in marks.items()]
    assert ran.out.splitlines() == ["recipe.yaml: pinned", *rows]
    assert cli("lock", "recipe.yaml").out.startswith("recipe.yaml: was pinned so already\n")
    assert cli("run", "recipe.yaml").code == 0
    refused = cli("run", "recipe.yaml", "--force", "--input", "base=chat.ckpt")
    assert refused.code == 1
    assert "is not what the recipe pins: its fingerprint is" in refused.err


def test_json_is_the_documented_record(cli: Cli, folder: Path) -> None:
    ran = cli("lock", "recipe.yaml", "--sha256", "--json")
    report = TypeAdapter(LockReport).validate_json(ran.out)
    assert as_json(report) + "\n" == ran.out
    assert [(one.name, one.sha256) for one in report.inputs] == [
        (name, sha256_of(Path(f"{name}.ckpt"))) for name in ("base", "chat", "code")
    ]


def test_it_fails_as_all_commands_do(cli: Cli, folder: Path) -> None:
    ran = cli("lock", "missing.yaml", "--json")
    assert (ran.code, json.loads(ran.out)["error"]["what"]) == (2, "there is no such file")
