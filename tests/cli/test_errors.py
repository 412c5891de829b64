"""Messages name what to write: options to who gives a command, arguments to who calls from Python."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import weightmath as wm
from tests.cli.conftest import Ran
from weightmath.arguments import SWITCHES, VALUES
from weightmath.errors import WeightmathError

PUBLIC = [
    *(wm.run, wm.plan, wm.save, wm.sweep, wm.search, wm.soup, wm.report, wm.align.align),
    *(getattr(wm.landscape, name) for name in ("explore", "around", "noise", "line")),
]


@pytest.mark.parametrize("option", [*SWITCHES.values(), *VALUES, "out", "inputs", "outputs"])
def test_an_argument_is_one_of_a_function(option: str) -> None:
    name = option.partition("=")[0]
    assert any(name in inspect.signature(function).parameters for function in PUBLIC)


@pytest.mark.parametrize(
    ("hint", "in_python"),
    {
        "choose another name, or allow it with --force": "choose another name, or allow it with force=True",
        "--threads 1 does without": "threads=1 does without",
        "--metric 'eval.py {checkpoint}'; or --uniform": 'metric="eval.py {checkpoint}"; or rule="uniform"',
        "--sampler tpe, or a single --of NAME": 'sampler="tpe", or a single of=NAME',
        "--keep all, or --keep none": 'keep="all", or keep="none"',
        "write a spec (--spec FILE)": "write a spec (spec=FILE)",
        "it is an input: --input base=PATH": 'it is an input: inputs={"base": "PATH"}',
        "it is a parameter: --set t=value": "it is a parameter: t=value",
        "--resume goes on with it; -o STEM writes another": "resume=True goes on with it; out=STEM writes another",
        "leave out --heads": "leave out `heads`",
        "weightmath run a.yaml --set t=1 makes one": "weightmath run a.yaml --set t=1 makes one",
        "--forced, --keep-going, --any-base": "--forced, --keep-going, --any-base",
    }.items(),
)
def test_a_hint_names_arguments(hint: str, in_python: str) -> None:
    error = WeightmathError("it failed", hint=hint)
    assert str(error) == f"it failed\n  hint: {in_python}"
    assert error.of_command() == f"it failed\n  hint: {hint}"


def test_places_and_facts_that_begin_with_an_option_name_the_argument() -> None:
    assert str(WeightmathError("it failed", where="--set t=1")) == "t=1: it failed"
    assert str(WeightmathError("--of says nothing")) == "`of` says nothing"
    assert str(WeightmathError("it failed", where="metric eval.py --force")) == "metric eval.py --force: it failed"


def test_the_same_mistake_from_python_and_from_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Ran]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"w": torch.ones(3)}, "a.ckpt")
    torch.save({"w": torch.ones(3)}, "b.ckpt")
    with pytest.raises(WeightmathError, match="allow it with force=True"):
        wm.save(wm.open("a.ckpt"), "b.ckpt")
    assert "allow it with --force\n" in cli("run", "-e", "a", "a=a.ckpt", "-o", "b.ckpt").err
