"""The commands as functions: the records are those that `--json` prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import weightmath as wm
from weightmath.cli.app import program
from weightmath.plain import plain

RECIPE = """\
inputs: {base: base.ckpt, chat: chat.ckpt}
params: {strength: 0.5, rate: 1, words: tensor, some: [1, 2]}
let:
  merged: base + strength * rate * some[0] * (chat - base)
show: ['norm(merged - base, scope=words)']
save: {out.ckpt: merged}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, and the current one beside it, with two checkpoints and a recipe."""
    for name, number in (("base", 1.0), ("chat", 3.0), ("code", 5.0)):
        (tmp_path / "in").mkdir(exist_ok=True)
        torch.save({"w": torch.full((3,), number), "n": torch.tensor(1)}, tmp_path / "in" / f"{name}.ckpt")
    (tmp_path / "in" / "merge.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """What a command prints with `--json`."""

    def call(*arguments: object) -> dict[str, Any]:
        with pytest.raises(SystemExit):
            program()([*map(str, arguments), "--json"])
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return call


def weights(path: str) -> list[float]:
    found: list[float] = torch.load(path)["w"].tolist()
    return found


def test_a_recipe_runs_as_it_is(folder: Path) -> None:
    report = wm.run("in/merge.yaml")
    assert weights("in/out.ckpt") == [2.0] * 3
    assert (report.outputs[0].elements_changed, report.warnings) == (3, ())
    assert report.show[0].value == {"w": pytest.approx(3**0.5)}


@pytest.mark.parametrize(
    ("params", "number"),
    [
        ({"strength": 0.25}, 1.5),
        ({"strength": np.float32(0.25)}, 1.5),
        ({"some": [2]}, 3.0),
        ({"rate": {"w": 2}, "words": "global"}, 3.0),
        ({"strength": 1e-3}, 1.002),
    ],
)
def test_other_parameters(folder: Path, params: dict[str, Any], number: float) -> None:
    wm.run(Path("in/merge.yaml"), **params)
    assert weights("in/out.ckpt") == pytest.approx([number] * 3)


def test_other_paths_are_seen_from_the_current_folder(folder: Path) -> None:
    wm.run("in/merge.yaml", inputs={"chat": "in/code.ckpt"}, outputs={"out.ckpt": Path("other.ckpt")})
    assert weights("other.ckpt") == [3.0] * 3
    assert not Path("in/out.ckpt").exists()


def test_mistakes_are_refused(folder: Path) -> None:
    with pytest.raises(wm.WeightmathError, match="unknown parameter `strenght`"):
        wm.run("in/merge.yaml", strenght=1)
    with pytest.raises(wm.WeightmathError, match="true is true or false, and the recipe has a number"):
        wm.plan("in/merge.yaml", strength=True)
    wm.run("in/merge.yaml")
    with pytest.raises(wm.WeightmathError, match="exists"):
        wm.run("in/merge.yaml", strength=1)
    refusal = wm.plan("in/merge.yaml", strength=1).refusal
    assert refusal is not None
    assert refusal.what == "exists"
    assert wm.plan("in/merge.yaml", strength=1, force=True).refusal is None
    wm.run("in/merge.yaml", strength=1, force=True)
    assert weights("in/out.ckpt") == [3.0] * 3


def test_the_records_are_those_of_the_commands(folder: Path, printed: Callable[..., dict[str, Any]]) -> None:
    plan = ("plan", "in/merge.yaml", "--set", "strength=0.25", "--threads", 2)
    assert json.loads(json.dumps(plain(wm.plan("in/merge.yaml", strength=0.25, threads=2)))) == printed(*plan)
    inspect = ("inspect", "in/base.ckpt", "--check")
    assert json.loads(json.dumps(plain(wm.inspect("in/base.ckpt", check=True)))) == printed(*inspect)
    diff = ("diff", "in/base.ckpt", "in/chat.ckpt")
    assert json.loads(json.dumps(plain(wm.diff("in/base.ckpt", "in/chat.ckpt")))) == printed(*diff)
    assert wm.diff("in/base.ckpt", "in/chat.ckpt").relative_change == 2
    ran = json.loads(json.dumps(plain(wm.run("in/merge.yaml"))))
    again = printed("run", "in/merge.yaml", "--force")
    for record in (ran, again):
        del record["seconds"], record["peak_bytes"]
    assert ran == again


def test_a_notebook_shows_no_list_of_tensors(folder: Path) -> None:
    for record in (wm.inspect("in/base.ckpt"), wm.diff("in/base.ckpt", "in/chat.ckpt"), wm.plan("in/merge.yaml")):
        assert "name='w'" not in repr(record)
