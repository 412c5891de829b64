"""`weightmath plan`: what it says, and that it reads no tensor."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter

from tests.cli.conftest import Ran
from weightmath.checkpoint import Reader
from weightmath.plain import as_json
from weightmath.reports.plan import PlanReport

Cli = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Reader, *arguments: object) -> None:
        raise AssertionError("plan must not read tensors")

    monkeypatch.setattr(Reader, "read", refuse)


def test_plan_of_a_recipe(cli: Cli, folder: Path) -> None:
    size = json.loads(cli("plan", "recipe.yaml", "--json").out)["outputs"][0]["bytes"]
    assert size > os.path.getsize(folder / "base.ckpt")  # it carries its provenance
    ran = cli("plan", "recipe.yaml", "--threads", 2)
    assert (ran.code, ran.err) == (0, "")
    head, _, cost = ran.out.partition("\ncost\n")
    assert head == PLAN.replace("SIZE", f"{size / 1000:.2f} kB")
    assert [line.split()[0] for line in cost.splitlines()] == ["reads", "writes", "memory", "time"]
    assert not (folder / "merged.ckpt").exists()


PLAN = """\
plan of recipe.yaml

inputs
  name  kind             section     tensors  values  dtypes                path
  base  model, template  state_dict        5      53  float32: 4, int64: 1  base.ckpt (torch zip)
  chat  model            state_dict        5      53  float32: 4, int64: 1  chat.ckpt (torch zip)
  code  model            state_dict        5      53  float32: 4, int64: 1  code.ckpt (torch zip)

let
  skill   delta  chat - base
  merged  model  base + strength * only(skill + (code - base), "blocks.*")

only('blocks.*')
a pattern matches the whole name
  matches         1  3 tensors
  does not match  0  1 tensor

passes
  1  reads base, chat, code (636 B)
     for show: norm(skill, scope="layer")
     for show: norm(skill)
     for expect: cosine(merged, base) > -1
     writes merged.ckpt

outputs
  merged.ckpt  SIZE  model  4 tensors merged, 1 copied from `base`

tensors apart
  1  outside the vector: the template's  steps
"""


def test_json_is_the_documented_record(cli: Cli, folder: Path) -> None:
    ran = cli("plan", "recipe.yaml", "--json")
    assert (ran.code, ran.err) == (0, "")
    report = TypeAdapter(PlanReport).validate_json(ran.out)
    assert as_json(report) + "\n" == ran.out
    assert [value.kind for value in report.values] == ["delta", "model"]
    assert [one.template for one in report.inputs] == [True, False, False]
    assert report.refusal is None
    assert report.bytes_written == report.outputs[0].bytes > os.path.getsize(folder / "base.ckpt")


def test_what_run_would_refuse(cli: Cli, folder: Path) -> None:
    (folder / "merged.ckpt").touch()
    ran = cli("plan", "recipe.yaml")
    assert ran.code == 2
    assert ran.out.startswith("plan of recipe.yaml\n")
    hint = "  hint: choose another name, or allow it with --force\n"
    assert ran.err == f"error: run would refuse: merged.ckpt: exists\n{hint}"
    refusal = json.loads(cli("plan", "recipe.yaml", "--json").out)["refusal"]
    assert refusal["what"] == "exists"
    assert cli("plan", "recipe.yaml", "--force").code == 0


def test_memory_is_checked(cli: Cli, folder: Path) -> None:
    ran = cli("plan", "recipe.yaml", "--memory", "1MB")
    assert ran.code == 2
    assert "error: run would refuse: the work needs " in ran.err
    least = ran.err.split()[-1]
    assert cli("plan", "recipe.yaml", "--memory", least).code == 0


def test_mistakes_in_the_recipe(cli: Cli, folder: Path) -> None:
    ran = cli("plan", "-e", "a + b", "a=base.ckpt", "b=chat.ckpt", "-o", "out.ckpt")
    assert (ran.code, ran.out) == (2, "")
    assert "must be a model, and this has weight 2" in ran.err


def test_kinds_of_named_values(cli: Cli, folder: Path) -> None:
    (folder / "kinds.yaml").write_text(KINDS)
    values = json.loads(cli("plan", "kinds.yaml", "--json").out)["values"]
    assert {value["name"]: value["kind"] for value in values} == {
        "difference": "delta",
        "small": "mask",
        "size": "statistic",
        "factor": "number",
        "ramped": "number",
        "guess": "unknown",
        "both": "list of 2: model delta",
        "spare": "unused",
        "merged": "model",
    }
    assert "kinds.yaml: nothing uses" not in cli("plan", "kinds.yaml").out


KINDS = """\
inputs: {a: base.ckpt, b: chat.ckpt}
let:
  difference: b - a
  small: abs(difference) < 1
  size: norm(difference)
  factor: 2 / 4
  ramped: ramp(0, 1)
  guess: a * a
  both: '[a, difference]'
  spare: a + 3 * difference
  merged: both[0] + factor * ramped * where(small, difference, 0 * difference) / size + 0 * delta(guess)
save:
  out.ckpt: model(merged)
"""


def test_selections_apart_and_buffers(cli: Cli, folder: Path) -> None:
    weights = {"w": torch.randn(8, 8), "bn.running_mean": torch.randn(8), "old": torch.randn(3), "n": torch.tensor(1)}
    torch.save(weights, folder / "a.ckpt")
    torch.save({name: value + 1 for name, value in weights.items()}, folder / "b.ckpt")
    (folder / "ties.yaml").write_text(
        "inputs: {a: a.ckpt, b: b.ckpt}\n"
        "except: old\nintegers: max\n"
        "save:\n  out.ckpt: a + 2 * keep_largest(b - a, density=0.5)\n"
    )
    out = cli("plan", "ties.yaml").out
    assert "     for save out.ckpt: keep_largest(b - a, density=0.5, scope='global')\n" in out
    assert "     selects by a sample and one reading, and at most two more where the sample misled\n" in out
    assert "  2  reads a, b (" in out
    assert "  1  copied: in `except:`                                  old\n" in out
    assert "  1  copied: a buffer, and not every output is an average  bn.running_mean\n" in out
    assert "  1  outside the vector: the largest of all inputs         n\n" in out
    assert "warning: BatchNorm statistics stay the template's" in out


def test_buffers_that_are_merged(cli: Cli, folder: Path) -> None:
    for name in ("a", "b"):
        torch.save({"w": torch.randn(8, 8), "bn.running_var": torch.ones(8)}, folder / f"{name}.ckpt")
    out = cli("plan", "-e", "(a + b) / 2", "a=a.ckpt", "b=b.ckpt", "-o", "out.ckpt").out
    assert "  1  buffers, merged by the formula  bn.running_var\n" in out


def test_lists_say_which_files_they_are(cli: Cli, folder: Path) -> None:
    for epoch in (2, 9, 10):
        torch.save({"w": torch.ones(2) * epoch, "loss": -float(epoch)}, folder / f"epoch={epoch}.ckpt")
    (folder / "runs.yaml").write_text(
        'inputs: {runs: {glob: "epoch=*.ckpt", sort: "entry:loss", last: 2}}\nsave:\n  out.ckpt: mean(runs)\n'
    )
    out = cli("plan", "runs.yaml").out
    assert "  runs[0]  model            (top level)        1       2  float32  epoch=9.ckpt (torch zip)\n" in out
    assert "\nruns: 2 files, 1 left out\n  sorted by a stored number: -9 -2\n  epoch=10.ckpt: " in out
    (runs,) = json.loads(cli("plan", "runs.yaml", "--json").out)["lists"]
    assert runs["files"] == ["epoch=9.ckpt", "epoch=2.ckpt"]
    assert runs["numbers"] == [-9.0, -2.0]
    assert runs["left_out"][0]["path"] == "epoch=10.ckpt"
