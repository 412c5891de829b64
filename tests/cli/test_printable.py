"""Names in files are shown, and are no commands to the terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from tests.cli.conftest import Ran
from weightmath.cli.printable import printable

EVIL = "\x1b[2Jcleared\x07\r\x9b\u202e"


def test_control_characters_are_written_out() -> None:
    assert printable(EVIL) == r"\x1b[2Jcleared\x07\r\x9b\u202e"
    assert printable("two\nlines\tand \u6f22\u5b57") == "two\nlines\tand \u6f22\u5b57"


def test_names_in_a_checkpoint(cli: Callable[..., Ran], folder: Path) -> None:
    torch.save({"state_dict": {EVIL: torch.ones(2), "w": torch.ones(2)}, EVIL: [EVIL]}, folder / "evil.ckpt")
    torch.save({"state_dict": {EVIL: torch.zeros(2), "w": torch.ones(2)}}, folder / "worse.ckpt")
    (folder / "evil.yaml").write_text("inputs: {a: evil.ckpt, b: base.ckpt}\nsave: {out.ckpt: a + b}")
    for arguments in (("inspect", "evil.ckpt"), ("diff", "evil.ckpt", "worse.ckpt"), ("plan", "evil.yaml")):
        ran = cli(*arguments)
        assert "\x1b" not in ran.out + ran.err
        assert r"\x1b[2J" in ran.out + ran.err
