"""`weightmath compare`: what it prints and writes; `tests/lab/test_compare.py` has the numbers."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Ran, state


def test_the_page(cli: Callable[..., Ran], folder: Path) -> None:
    ran = cli("compare", "base.ckpt", "chat.ckpt", "code.ckpt", "--density", "0.25", "--spectrum")
    assert ran.code == 0
    for heading in (
        "3 models",
        "cosine of models",
        "distance",
        "opposite signs of models",
        "overlap of the largest 0.25 of models",
        "relative change by layer, against base",
        "relative change by tensor, against base",
        "singular values of models",
    ):
        assert heading in ran.out
    a, b = (state(folder / f"{name}.ckpt") for name in ("base", "chat"))
    floats = [name for name, tensor in a.items() if tensor.is_floating_point()]
    distance = np.sqrt(sum(float((a[name] - b[name]).double().pow(2).sum()) for name in floats))
    assert f"{distance:.4g}" in ran.out


def test_with_a_base(cli: Callable[..., Ran], folder: Path) -> None:
    ran = cli("compare", "chat.ckpt", "code.ckpt", "--base", "base.ckpt")
    assert ran.code == 0
    assert "2 models, as changes from base" in ran.out
    assert "cosine of changes" in ran.out
    assert "base (base)" in ran.out


def test_its_tables_fit_a_narrow_terminal(
    cli: Callable[..., Ran], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    paths = [f"epoch={number}-loss=0.{number}1234.ckpt" for number in range(1, 6)]
    for path in paths:
        shutil.copy("base.ckpt", path)
    ran = cli("compare", *paths, "--density", "0.5", "--spectrum")
    assert ran.code == 0
    assert max(map(len, ran.out.splitlines())) <= 80
    assert ran.out.count("…") == 0


def test_many_models_are_cut_short(cli: Callable[..., Ran], folder: Path) -> None:
    names = ["base.ckpt", "chat.ckpt"] * 6
    assert "... and 2 more models: --all prints them" in cli("compare", *names).out
    assert "more models" not in cli("compare", *names, "--all").out


def test_json(cli: Callable[..., Ran], folder: Path) -> None:
    ran = cli("compare", "chat.ckpt", "code.ckpt", "--base", "base.ckpt", "--spectrum", "--density", "0.5", "--json")
    found = json.loads(ran.out)
    assert (found["models"], found["base"], found["of"]) == (["chat", "code"], "base", "changes")
    for name in ("gram", "cosine", "distance", "opposed", "overlap"):
        assert np.shape(found[name]) == (2, 2)
    assert np.shape(found["map"]) == (2, 2)
    assert [row["name"] for row in found["layers"]] == ["blocks.0", "blocks.1", "head"]
    assert np.shape(found["spectrum"][0]["values"]) == (2, 4)
    assert len(found["drift"]["steps"]) == 1


def test_csv(cli: Callable[..., Ran], folder: Path) -> None:
    assert cli("compare", "base.ckpt", "chat.ckpt", "--csv", "t.csv").code == 0
    with (folder / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["tensor"] for row in rows] == ["blocks.0.bias", "blocks.0.weight", "blocks.1.weight", "head"]
    head, other = state(folder / "base.ckpt")["head"], state(folder / "chat.ckpt")["head"]
    assert float(rows[3]["norm chat"]) == pytest.approx(float(other.norm()), rel=1e-6)
    assert float(rows[3]["relative change chat"]) == pytest.approx(float((other - head).norm() / head.norm()), rel=1e-6)
    refused = cli("compare", "base.ckpt", "--csv", "t.csv")
    assert (refused.code, "t.csv: exists" in refused.err) == (2, True)
    assert cli("compare", "base.ckpt", "--csv", "t.csv", "--force").code == 0
    assert cli("compare", "base.ckpt", "--csv", ".").code == 2


def test_what_is_no_checkpoint_is_refused(cli: Callable[..., Ran], folder: Path) -> None:
    ran = cli("compare", "base.ckpt", "recipe.yaml")
    assert ran.code == 2
    assert "recipe.yaml" in ran.err
