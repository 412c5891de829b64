"""`weightmath align`: what it prints, writes and refuses; `tests/align` has the numbers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.cli.conftest import Ran


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, and the current one, with a.pt, b.pt and vit.pt."""
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        torch.save(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)).state_dict(), tmp_path / f"{name}.pt")
    block = {
        "attn.qkv.weight": (36, 12),
        "attn.proj.weight": (12, 12),
        "mlp.fc1.weight": (20, 12),
        "mlp.fc2.weight": (12, 20),
    }
    torch.save({f"blocks.0.{name}": torch.randn(shape) for name, shape in block.items()}, tmp_path / "vit.pt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page(cli: Callable[..., Ran], models: Path) -> None:
    ran = cli("align", "a.pt", "b.pt", "-o", "c.pt", "--save-spec", "spec.yaml")
    assert (ran.code, ran.err) == (0, "")
    for text in ("c.pt", "spec         chain", "cosine to A", "units of 0", "of 16 moved", "3 axes"):
        assert text in ran.out
    assert (models / "spec.yaml").read_text() == "units of 0:\n  0.bias: 0\n  0.weight: 0\n  2.weight: 1\n"
    again = cli("align", "a.pt", "b.pt", "-o", "d.pt", "--spec", "spec.yaml")
    assert again.code == 0
    assert (models / "c.pt").read_bytes() == (models / "d.pt").read_bytes()


def test_without_scipy_it_does_not_begin(
    cli: Callable[..., Ran], models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    ran = cli("align", "a.pt", "b.pt", "-o", "c.pt")
    assert (ran.code, ran.out) == (2, "")
    assert "pip install 'weightmath[lab]'" in ran.err


def test_json(cli: Callable[..., Ran], models: Path) -> None:
    found = json.loads(cli("align", "a.pt", "b.pt", "-o", "c.pt", "--json").out)
    assert found["output"] == "c.pt"
    assert found["after"]["distance"] < found["before"]["distance"]
    assert found["converged"] is True
    assert [(row["name"], row["units"], row["axes"]) for row in found["permutations"]] == [("units of 0", 16, 3)]


def test_heads(cli: Callable[..., Ran], models: Path) -> None:
    ran = cli("align", "vit.pt", "vit.pt", "-o", "c.pt")
    assert "left where they are (1): how many heads there are is in no name or shape: --heads says it" in ran.out
    assert "heads of blocks.0.attn" in cli("align", "vit.pt", "vit.pt", "-o", "d.pt", "--heads", "3").out


def test_a_metric(cli: Callable[..., Ran], models: Path) -> None:
    (models / "total.py").write_text(
        "def absolute(state):\n    return sum(float(t.abs().sum()) for t in state.values())\n"
    )
    wrong = cli("align", "a.pt", "b.pt", "-o", "c.pt", "--metric", "total:absolute")
    assert (wrong.code, "--allow-code" in wrong.err) == (2, True)
    idle = cli("align", "a.pt", "b.pt", "-o", "c.pt", "--allow-code")
    assert (idle.code, "--allow-code says something of a metric, and there is none" in idle.err) == (2, True)
    ran = cli("align", "a.pt", "b.pt", "-o", "c.pt", "--metric", "total:absolute", "--allow-code")
    assert ran.code == 0
    assert ", as before" in ran.out


def test_refusals(cli: Callable[..., Ran], models: Path) -> None:
    doubt = cli("align", "a.pt", "vit.pt", "-o", "c.pt", "--spec", "chain")
    assert (doubt.code, "leaves doubt" in doubt.err) == (2, True)
    other = cli("align", "a.pt", "vit.pt", "-o", "c.pt")
    assert (other.code, "no such tensor for `blocks.0.mlp.fc1.weight`" in other.err) == (2, True)
    torch.save({name: tensor * torch.nan for name, tensor in torch.load("b.pt").items()}, "nan.pt")
    failed = cli("align", "a.pt", "nan.pt", "-o", "c.pt")
    assert (failed.code, "NaN" in failed.err) == (1, True)
    assert not (models / "c.pt").exists()
    (models / "spec.yaml").touch()
    assert cli("align", "a.pt", "b.pt", "-o", "c.pt", "--save-spec", "spec.yaml").code == 2
    assert cli("align", "a.pt", "missing.pt", "-o", "c.pt").code == 2
