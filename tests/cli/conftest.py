"""Runs commands in this process as a shell would, and makes small checkpoints for them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from weightmath.cli.app import program

Tensors = dict[str, torch.Tensor]
PROGRAM = program()


@dataclass(frozen=True)
class Ran:
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run a command with these arguments; whatever is no clean exit is raised."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")

    def call(*arguments: object) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            PROGRAM([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return Ran(left.value.code, out, err)

    return call


def tensors(seed: int) -> Tensors:
    """Four float tensors in two layers, and a counter."""
    g = torch.Generator().manual_seed(seed)
    return OrderedDict(
        {
            "blocks.0.weight": torch.randn(4, 6, generator=g),
            "blocks.0.bias": torch.randn(6, generator=g),
            "blocks.1.weight": torch.randn(5, 4, generator=g),
            "head": torch.randn(3, generator=g),
            "steps": torch.tensor(100 + seed),
        }
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, and the current one, with base.ckpt, chat.ckpt, code.ckpt and recipe.yaml."""
    for seed, name in enumerate(("base", "chat", "code")):
        torch.save({"state_dict": tensors(seed), "epoch": 3}, tmp_path / f"{name}.ckpt")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def state(path: Path) -> Tensors:
    """The state dict of a checkpoint, as torch reads it."""
    loaded: Tensors = torch.load(path, weights_only=True)["state_dict"]
    return loaded


RECIPE = """\
inputs:
  base: base.ckpt
  chat: chat.ckpt
  code: code.ckpt
params:
  strength: 0.5
let:
  skill: chat - base
  merged: base + strength * only(skill + (code - base), "blocks.*")
show:
  - norm(skill, scope="layer")
  - norm(skill)
expect:
  - cosine(merged, base) > -1
save:
  merged.ckpt: merged
"""
