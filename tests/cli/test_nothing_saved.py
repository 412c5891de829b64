"""Recipes that save nothing: numbers about models, and claims."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.cli.conftest import Ran, state

Cli = Callable[..., Ran]
ASKED = "inputs: {base: base.ckpt, chat: chat.ckpt}\nonly: 'blocks.*'\n"


def moved(folder: Path, pattern: str = "blocks.") -> float:
    """How far the floats of a layer moved."""
    base, chat = (state(folder / f"{name}.ckpt") for name in ("base", "chat"))
    return (
        float(
            sum(
                ((chat[name] - base[name]).double() ** 2).sum()
                for name in base
                if name.startswith(pattern) and name != "steps"
            )
        )
        ** 0.5
    )


def test_statistics_are_shown_and_nothing_is_written(cli: Cli, folder: Path) -> None:
    (folder / "ask.yaml").write_text(f"{ASKED}show: norm(chat - base, scope='layer')\nexpect: norm(base) > 1\n")
    before = set(folder.iterdir())
    ran = cli("run", "ask.yaml", "--json")
    assert (ran.code, ran.err) == (0, "")
    report = json.loads(ran.out)
    expected = {f"blocks.{i}": pytest.approx(moved(folder, f"blocks.{i}."), rel=1e-6) for i in (0, 1)}
    assert (report["outputs"], report["show"][0]["value"]) == ([], expected)
    assert report["expect"][0]["held"]
    assert set(folder.iterdir()) == before
    assert cli("run", "ask.yaml").out.startswith("norm(chat - base, scope='layer')\n  blocks.0  ")


def test_a_claim_that_does_not_hold_fails(cli: Cli, folder: Path) -> None:
    (folder / "ask.yaml").write_text(f"{ASKED}expect: norm(chat - base) > 1000\n")
    ran = cli("run", "ask.yaml")
    assert ran.code == 1
    assert "`norm(chat - base) > 1000` does not hold" in ran.err


def test_what_is_planned(cli: Cli, folder: Path) -> None:
    (folder / "ask.yaml").write_text(f"{ASKED}show: quantile(chat - base, 0.5)\n")
    ran = cli("plan", "ask.yaml")
    assert (ran.code, ran.err) == (0, "")
    assert "  writes  0 B\n" in ran.out
    assert "outputs" not in ran.out
    assert "  1  left out: not in `only:`  head" in ran.out


def test_an_expression_without_an_output_is_shown(cli: Cli, folder: Path) -> None:
    ran = cli("run", "-e", "norm(b - a)", "a=base.ckpt", "b=chat.ckpt", "--json")
    (shown,) = json.loads(ran.out)["show"]
    assert shown == {"text": "norm(b - a)", "value": pytest.approx(moved(folder, ""), rel=1e-6)}
    ran = cli("run", "-e", "b - a", "a=base.ckpt", "b=chat.ckpt")
    assert ran.code == 2
    assert "or save it: `save:` in a recipe, -o with -e" in ran.err


def test_there_is_no_output_to_name(cli: Cli, folder: Path) -> None:
    (folder / "ask.yaml").write_text(f"{ASKED}show: norm(base)\n")
    ran = cli("run", "ask.yaml", "-o", "out.ckpt")
    assert ran.code == 2
    assert "hint: it saves nothing: save: {out.ckpt: ...}" in ran.err


def test_nan_is_told_as_it_is(cli: Cli, folder: Path) -> None:
    content = torch.load(folder / "chat.ckpt", weights_only=False)
    content["state_dict"]["blocks.0.bias"][0] = torch.nan
    torch.save(content, folder / "chat.ckpt")
    ran = cli("run", "-e", "norm(a)", "a=chat.ckpt", "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["show"][0]["value"] == "nan"


def test_truth_values_are_said_as_in_yaml(cli: Cli, folder: Path) -> None:
    (folder / "ask.yaml").write_text(f"{ASKED}show:\n- 1 < 2\n- norm(base) > 1000\n- norm(base, scope='row') > 0\n")
    lines = cli("run", "ask.yaml").out.splitlines()
    assert lines[1] == "  true"
    assert lines[4] == "  false"
    assert "  blocks.0.weight  true true true true" in lines
    assert [shown["value"] for shown in json.loads(cli("run", "ask.yaml", "--json").out)["show"][:2]] == [True, False]


def test_integers_that_differ_matter_to_outputs_alone(cli: Cli, folder: Path) -> None:
    ran = cli("run", "-e", "norm(b - a)", "a=base.ckpt", "b=chat.ckpt")
    assert "inputs disagree" not in ran.out
    assert "inputs disagree" in cli("run", "-e", "a + 0.5 * (b - a)", "a=base.ckpt", "b=chat.ckpt", "-o", "x.ckpt").out


def test_each_expression_that_is_given_is_shown(cli: Cli, folder: Path) -> None:
    ran = cli("run", "-e", "norm(b - a)", "-e", "count(a != b)", "a=base.ckpt", "b=chat.ckpt", "--json")
    assert [one["text"] for one in json.loads(ran.out)["show"]] == ["norm(b - a)", "count(a != b)"]
    assert "norm(b - a)" in cli("plan", "-e", "norm(b - a)", "-e", "count(a != b)", "a=base.ckpt", "b=chat.ckpt").out
    ran = cli("run", "-e", "b - a", "-e", "b", "a=base.ckpt", "b=chat.ckpt", "-o", "x.ckpt")
    assert (ran.code, ran.err[:36]) == (2, "error: -e: one expression is saved t")
