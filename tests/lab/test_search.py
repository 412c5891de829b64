"""Searches: samplers of optuna within `vary`, gone on with to the same points, fronts of several goals."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

import weightmath as wm
from weightmath.errors import MetricError, OutputError, RecipeError, TableError, WeightmathError
from weightmath.lab.search import search
from weightmath.lab.table import Table, read

# The model is the two numbers themselves; the best is at x = 0.3, y = 0.01.
RECIPE = """\
inputs: {one: one.ckpt}
params: {x: 0, y: 1, kind: a}
vary:
  random: {x: 'uniform(-1, 1)', y: 'loguniform(1e-4, 1)'}
save:
  'm_{x}_{y}.ckpt': model(one * x * match('x') + one * y * match('y'))
"""


def bowl(state: dict[str, torch.Tensor]) -> float:
    return (float(state["x"]) - 0.3) ** 2 + math.log10(float(state["y"]) / 0.01) ** 2 / 10


def two(state: dict[str, torch.Tensor]) -> dict[str, float]:
    return {"gain": float(state["x"]), "cost": float(state["x"]) ** 2 + float(state["y"]), "noise": 0.5}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    torch.save({"state_dict": {"x": torch.ones(1), "y": torch.ones(1)}}, tmp_path / "one.ckpt")
    (tmp_path / "r.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(table: Table) -> list[tuple[Any, Any]]:
    return [(dict(row.params), dict(row.metrics)) for row in table.rows]


@pytest.mark.parametrize(("sampler", "near"), [("tpe", 0.02), ("cma", 0.005)])
def test_it_finds_the_best_and_beats_chance(here: Path, sampler: Any, near: float) -> None:
    table = wm.search("r.yaml", budget=60, sampler=sampler, metric=bowl, goal="min", keep="none")
    best = table.best()
    assert best is not None
    assert best.metrics["metric"] < near
    assert len(table.rows) == 60
    first, last = (sum(row.metrics["metric"] for row in half) for half in (table.rows[:20], table.rows[40:]))
    assert last < first / 2
    assert all(-1 <= row.params["x"] <= 1 and 1e-4 <= row.params["y"] <= 1 for row in table.rows)  # type: ignore[operator]


def test_it_proposes_what_optuna_does(here: Path) -> None:
    table = search("r.yaml", budget=15, metric=bowl, goal="min", seed=4, keep="none")
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=4))

    def objective(trial: optuna.Trial) -> float:
        x, y = trial.suggest_float("x", -1, 1), trial.suggest_float("y", 1e-4, 1, log=True)
        return bowl({"x": torch.tensor(x, dtype=torch.float32), "y": torch.tensor(y, dtype=torch.float32)})

    study.optimize(objective, n_trials=15)
    assert [dict(row.params) for row in table.rows] == [trial.params for trial in study.trials]


@pytest.mark.parametrize("sampler", ["tpe", "cma"])
def test_stopped_and_gone_on_with_is_the_same_search(here: Path, sampler: Any) -> None:
    whole = search("r.yaml", budget=24, sampler=sampler, metric=bowl, goal="min", out="whole", keep="none", jobs=3)
    lines = (here / "whole.jsonl").read_bytes().splitlines(keepends=True)
    calls: list[float] = []

    def bowl_(state: dict[str, torch.Tensor]) -> float:
        calls.append(bowl(state))
        return calls[-1]

    bowl_.__qualname__, bowl_.__module__ = bowl.__qualname__, bowl.__module__
    # Of the fourth batch of three, one row and half of another were written.
    (here / "cut.jsonl").write_bytes(b"".join(lines[:11]) + lines[11][:30])
    found = search(
        "r.yaml", budget=24, sampler=sampler, metric=bowl_, goal="min", out="cut", keep="none", jobs=2, resume=True
    )
    assert len(calls) == 14
    assert rows(found)[:12] == rows(whole)[:12]
    (here / "cut.jsonl").write_bytes(b"".join(lines[:11]))
    found = search(
        "r.yaml", budget=24, sampler=sampler, metric=bowl_, goal="min", out="cut", keep="none", jobs=3, resume=True
    )
    assert rows(found) == rows(whole)
    more = search("r.yaml", budget=27, sampler=sampler, metric=bowl_, goal="min", out="cut", keep="none", resume=True)
    assert len(more.rows) == 27
    assert rows(more)[:24] == rows(whole)
    with pytest.raises(TableError, match="belongs to another search"):
        search("r.yaml", budget=24, sampler=sampler, metric=bowl, seed=5, out="cut", keep="none", resume=True)


EVAL = """\
import json, sys, time
from array import array
from zipfile import ZipFile
with ZipFile(sys.argv[1]) as archive:
    x, y = (array("f", archive.read(archive.namelist()[0].partition("/")[0] + f"/data/{n}"))[0] for n in (0, 1))
time.sleep(0.03)
print(sys.argv[1], file=open("seen", "a"))
print((x - 0.3) ** 2 + y)
"""


def test_killed_and_gone_on_with(here: Path) -> None:
    (here / "eval.py").write_text(EVAL)
    (here / "r.yaml").write_text(RECIPE + f"metric: {{run: '{sys.executable} eval.py {{checkpoint}}', goal: min}}\n")
    command = [sys.executable, "-m", "weightmath", "search", "r.yaml", "--budget", "14", "--resume", "-o", "cut"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    table = here / "cut.jsonl"
    while process.poll() is None and not (table.exists() and table.read_bytes().count(b"\n") > 5):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    found = search("r.yaml", budget=14, out="cut", resume=True)
    assert len((here / "seen").read_text().splitlines()) <= 15
    assert rows(found) == rows(search("r.yaml", budget=14, out="whole", keep="none"))
    best = found.best()
    assert best is not None
    (kept,) = here.glob("cut_m_*.ckpt")
    state = torch.load(kept, weights_only=True)["state_dict"]
    assert (float(state["x"]), float(state["y"])) == pytest.approx((best.params["x"], best.params["y"]))


def test_several_goals_have_a_front(here: Path) -> None:
    spec = "metric: {run: 'judge_two:two', goal: {gain: max, cost: min}}\n"
    (here / "judge_two.py").write_text(
        "def two(state):\n    x, y = float(state['x']), float(state['y'])\n"
        "    return {'gain': x, 'cost': x ** 2 + y, 'noise': 0.5}\n"
    )
    (here / "r.yaml").write_text(RECIPE + spec)
    table = search("r.yaml", budget=40, allow_code=True, keep="none", out="out")
    front = table.pareto()
    assert 2 < len(front) < 40
    for one in table.rows:
        beaten = any(
            other.metrics["gain"] >= one.metrics["gain"]
            and other.metrics["cost"] <= one.metrics["cost"]
            and other.metrics != one.metrics
            for other in table.rows
        )
        assert beaten == (one not in front)
    assert read(here / "out").head.goal == {"gain": "max", "cost": "min"}
    assert table.head.metrics == ("gain", "cost", "noise")


def test_lists_are_chosen_from_and_whole_numbers_stay_whole(here: Path) -> None:
    text = RECIPE.replace("random: {x: 'uniform(-1, 1)', ", "grid: {kind: [a, b]}\n  random: {x: 'integers(1, 3)', ")
    (here / "r.yaml").write_text(text.replace("m_{x}", "m_{kind}_{x}"))
    table = search("r.yaml", budget=30, metric=bowl, goal="min", keep="none")
    assert set(table.column("kind")) == {"a", "b"}
    assert {type(x) for x in table.column("x")} == {int}
    assert set(table.column("x")) == {1, 2, 3}


def test_what_is_nan_is_noted_and_the_search_goes_on(here: Path) -> None:
    def broken(state: dict[str, torch.Tensor]) -> float:
        return float("nan") if float(state["x"]) < 0 else bowl(state)

    table = search("r.yaml", budget=25, metric=broken, goal="min", out="out")
    assert any(math.isnan(value) for value in table.column("metric"))
    assert '"metric": "nan"' in (here / "out.jsonl").read_text()
    best = table.best()
    assert best is not None
    assert best.params["x"] >= 0  # type: ignore[operator]


def refused(kind: type[WeightmathError], **options: Any) -> str:
    with pytest.raises(kind) as caught:
        search("r.yaml", **{"budget": 5, "metric": bowl, **options})
    return str(caught.value)


def test_what_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "points may share the file `m_{x}.ckpt`\n  hint: save it as m_{x}_{y}.ckpt" in _with(
        here, RECIPE.replace("_{y}", ""), RecipeError, keep="all"
    )
    assert "follows one goal" in _with(here, RECIPE, RecipeError, sampler="cma", metric=two, of=["gain", "cost"])
    one = RECIPE.replace(", y: 'loguniform(1e-4, 1)'", "")
    assert "needs two parameters or more" in _with(here, one, RecipeError, sampler="cma")
    assert "`x` is a list" in _with(here, RECIPE.replace("'uniform(-1, 1)'", "[1, 2]"), RecipeError, sampler="cma")
    zipped = RECIPE.replace("random: {x: 'uniform(-1, 1)', y: 'loguniform(1e-4, 1)'}", "zip: {x: [1], y: [2]}")
    assert "no zipped lists" in _with(here, zipped, RecipeError)
    assert "needs a metric" in _with(here, RECIPE, RecipeError, metric=None)
    assert "several numbers: gain cost noise" in _with(here, RECIPE, MetricError, metric=two, keep="none")
    (here / "best.ckpt").touch()
    assert "exists" in _with(here, RECIPE.replace("m_{x}_{y}", "best"), OutputError)
    monkeypatch.setattr("weightmath.installed.find_spec", lambda name: None)
    assert "a search needs optuna, which is not installed\n  hint: pip install 'weightmath[lab]'" in refused(
        WeightmathError
    )


def _with(here: Path, text: str, kind: type[WeightmathError], **options: Any) -> str:
    (here / "r.yaml").write_text(text)
    return refused(kind, **options)
