"""`weightmath fingerprint`, against the module's own function, which has a reference of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch

from tests.cli.conftest import Ran, tensors
from weightmath.checkpoint import open_checkpoint
from weightmath.fingerprint import fingerprint

Cli = Callable[..., Ran]


def test_a_script_gets_the_fingerprint_alone(cli: Cli, folder: Path) -> None:
    expected = fingerprint(open_checkpoint(folder / "base.ckpt").section())
    assert cli("fingerprint", "base.ckpt") == Ran(0, f"{expected}\n", "")
    assert cli("fingerprint", "base.ckpt", "--threads", 1).out == f"{expected}\n"
    assert cli("fingerprint", "chat.ckpt").out != f"{expected}\n"


def test_json_says_what_it_is_of(cli: Cli, folder: Path) -> None:
    torch.save({f"ema.{name}": value for name, value in tensors(0).items()} | {"a": torch.ones(1)}, "ema.pt")
    record = json.loads(cli("fingerprint", "ema.pt", "--section", "ema.", "--json").out)
    expected = fingerprint(open_checkpoint(folder / "base.ckpt").section())
    assert record == {"path": "ema.pt", "section": "ema.", "tensors": 5, "fingerprint": expected}


def test_it_fails_as_all_commands_do(cli: Cli, folder: Path) -> None:
    ran = cli("fingerprint", "bose.ckpt")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "error: bose.ckpt: no such file\n"
