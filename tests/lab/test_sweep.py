"""Sweeps: every point once, in a table that survives whoever made it; the best kept; killed and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import weightmath as wm
from weightmath.errors import MetricError, OutputError, RecipeError, TableError, WeightmathError
from weightmath.lab.sweep import sweep
from weightmath.lab.table import Table, kept_beside, read

# Of every point the path that the metric got, and the sum of its squares: what a line through two models must give.
# The standard library alone: a program that imports torch takes a second to start.
EVAL = """\
import json, sys
from array import array
from zipfile import ZipFile
path = sys.argv[1]
with open("seen", "a") as log:
    print(path, file=log)
with ZipFile(path) as archive:
    w, v = (array("d", archive.read(f"{archive.namelist()[0].partition('/')[0]}/data/{n}")) for n in (0, 1))
print("evaluating")
print(json.dumps({"energy": sum(x * x for x in w) + sum(x * x for x in v), "first": w[0]}))
"""
RECIPE = f"""\
inputs: {{a: a.ckpt, b: b.ckpt}}
params: {{alpha: 0.5, shift: 0}}
vary:
  alpha: linspace(-1, 1, 5)
  shift: [0, 1]
save:
  'm_{{alpha}}_{{shift}}.ckpt': a + alpha * (b - a) + shift
metric: {{run: "{sys.executable} eval.py {{checkpoint}}", of: energy, goal: min}}
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in "ab":
        tensors = {"w": torch.from_numpy(rng.standard_normal((3, 4))), "v": torch.from_numpy(rng.standard_normal(5))}
        torch.save({"state_dict": tensors}, tmp_path / f"{name}.ckpt")
    (tmp_path / "eval.py").write_text(EVAL)
    (tmp_path / "r.yaml").write_text(RECIPE)
    return tmp_path


def vector(path: Path) -> np.ndarray[Any, Any]:
    state = torch.load(path, weights_only=True)["state_dict"]
    return np.concatenate([state["w"].numpy().ravel(), state["v"].numpy()])


def expected(here: Path) -> list[tuple[float, float, float]]:
    """Alpha, shift and energy by numpy alone."""
    a, b = vector(here / "a.ckpt"), vector(here / "b.ckpt")
    grid = [(alpha, shift) for alpha in (-1, -0.5, 0, 0.5, 1) for shift in (0, 1)]
    return [(alpha, shift, float(((a + alpha * (b - a) + shift) ** 2).sum())) for alpha, shift in grid]


def same(table: Table, here: Path) -> None:
    """Assert that the table has these points in this order."""
    rows = zip(table.column("alpha"), table.column("shift"), table.column("energy"), strict=True)
    np.testing.assert_allclose(list(rows), expected(here), rtol=1e-12)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


BEFORE = {"a.ckpt", "b.ckpt", "eval.py", "r.yaml"}


def test_every_point_is_what_numpy_says_and_the_best_is_kept(here: Path) -> None:
    table = wm.sweep(here / "r.yaml", out=here / "out", jobs=2)
    same(table, here)
    assert len(set((here / "seen").read_text().splitlines())) == len((here / "seen").read_text().splitlines()) == 10
    best = min(expected(here), key=lambda one: one[2])
    name = f"out_m_{best[0]:g}_{best[1]:g}.ckpt"
    assert names(here) == BEFORE | {"seen", "out.jsonl", "out.csv", name}
    assert table.best().params == {"alpha": best[0], "shift": best[1]}  # type: ignore[union-attr]
    a, b = vector(here / "a.ckpt"), vector(here / "b.ckpt")
    np.testing.assert_array_equal(vector(here / name), (a + best[0] * (b - a)) + best[1])
    head = read(here / "out").head
    assert (head.what, head.params, head.goal) == ("sweep", ("alpha", "shift"), {"energy": "min"})
    assert head.metrics == ("energy", "first")
    assert head.recipe == RECIPE
    assert head.about["points"] == 10


def test_all_are_kept_and_the_table_says_where(here: Path) -> None:
    (here / "tables").mkdir()
    table = sweep(here / "r.yaml", out=here / "tables" / "out", keep="all")
    assert [row.checkpoint for row in table.rows] == [f"out_m_{a:g}_{s:g}.ckpt" for a, s, _ in expected(here)]
    a, b = vector(here / "a.ckpt"), vector(here / "b.ckpt")
    for row in table.rows:
        kept = vector(here / "tables" / str(row.checkpoint))
        np.testing.assert_array_equal(kept, a + float(row.params["alpha"]) * (b - a) + float(row.params["shift"]))


def test_tables_of_one_recipe_keep_theirs_apart(here: Path) -> None:
    (here / "r.yaml").write_text(RECIPE.replace("m_{alpha}_{shift}", "m"))
    for stem, best in (("low", min), ("high", max)):
        sweep(here / "r.yaml", goal=best.__name__, of=["energy"], metric=energy_of, out=here / stem)
        kept = vector(here / f"{stem}_m.ckpt")
        assert float((kept**2).sum()) == pytest.approx(best(energy for *_, energy in expected(here)))


def test_a_name_that_is_the_table_s_already_stays(here: Path) -> None:
    assert kept_beside(here / "m.jsonl", "m_0.5.ckpt") == here / "m_0.5.ckpt"
    assert kept_beside(here / "run.1", "m.ckpt") == here / "run.1_m.ckpt"
    assert kept_beside("out", "sub/m/") == Path("sub/out_m")


@pytest.mark.parametrize("keep", ["best", "all"])
def test_recipe_and_table_may_lie_in_other_folders(here: Path, monkeypatch: pytest.MonkeyPatch, keep: Any) -> None:
    monkeypatch.chdir(here)
    for folder in ("recipes", "tables"):
        (here / folder).mkdir()
    (here / "recipes" / "r.yaml").write_text(RECIPE.replace("a.ckpt", "../a.ckpt").replace("b.ckpt", "../b.ckpt"))
    table = sweep(
        "recipes/r.yaml", metric=f"{sys.executable} eval.py {{checkpoint}}", of=["energy"], out="tables/t", keep=keep
    )
    same(table, here)
    assert len(list((here / "tables").glob("t_m_*.ckpt"))) == (10 if keep == "all" else 1)


def energy_of(state: dict[str, torch.Tensor]) -> dict[str, float]:
    return {"energy": sum(float((x**2).sum()) for x in state.values())}


def test_a_function_needs_no_file(here: Path) -> None:
    table = sweep(here / "r.yaml", metric=energy_of, of=["energy"], goal="min", keep="none")
    same(table, here)
    assert names(here) == BEFORE


def test_a_worker_is_asked_for_every_point(here: Path) -> None:
    lines = EVAL.replace("sys.argv[1]", "line.strip()").replace('print("evaluating")\n', "").splitlines()
    inside = [f"    {line}" for line in lines[3:-1]]
    served = [*lines[:3], "for line in sys.stdin:", *inside, f"    {lines[-1][:-1]}, flush=True)"]
    (here / "serve.py").write_text("\n".join(served))
    text = RECIPE.replace('run: "', 'worker: "').replace("eval.py {checkpoint}", "serve.py")
    (here / "r.yaml").write_text(text)
    table = sweep(here / "r.yaml", keep="none", jobs=2)
    same(table, here)


def test_show_is_measured_too_and_may_be_all(here: Path) -> None:
    text = (
        RECIPE.partition("metric:")[0]
        + "show: [norm(a + alpha * (b - a) + shift), alpha, 'norm(a, scope=\"tensor\")']\n"
    )
    (here / "r.yaml").write_text(text)
    table = sweep(here / "r.yaml", out=here / "out")
    assert np.square(table.column("norm(a + alpha * (b - a) + shift)")) == pytest.approx(
        [e for _, _, e in expected(here)]
    )
    assert table.rows[0].about["show"]['norm(a, scope="tensor")'].keys() == {"w", "v"}
    assert names(here) == BEFORE | {"out.jsonl", "out.csv"}
    assert read(here / "out").rows[3].metrics == table.rows[3].metrics


def without_seconds(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text().replace(f"{path.stem}_", "").splitlines()]
    rows = sorted(lines[1:], key=lambda row: row["index"])
    return [lines[0], *({key: value for key, value in row.items() if key != "seconds"} for row in rows)]


SLOW = "import time; time.sleep(0.05)\n" + EVAL
MANY = f"""\
inputs: {{a: a.ckpt, b: b.ckpt}}
params: {{alpha: 0.5}}
vary:
  alpha: linspace(-1, 1, 21)
save:
  'm_{{alpha}}.ckpt': a + alpha * (b - a)
metric: {{run: "{sys.executable} slow.py {{checkpoint}}", of: energy, goal: min}}
"""


@pytest.mark.parametrize("keep", ["best", "all"])
def test_killed_and_gone_on_with_equals_undisturbed(here: Path, keep: Any) -> None:
    (here / "slow.py").write_text(SLOW)
    (here / "r.yaml").write_text(MANY)
    command = [sys.executable, "-m", "weightmath", "sweep", here / "r.yaml", "--keep", keep, "-o", here / "cut"]
    for wanted in (6, 13):
        process = subprocess.Popen([*command, "--resume"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while process.poll() is None and lines(here / "cut.jsonl") < wanted:
            time.sleep(0.005)
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert wanted <= lines(here / "cut.jsonl") < 22
    sweep(here / "r.yaml", out=here / "cut", keep=keep, resume=True)
    cut = {path.name: path.read_bytes() for path in here.glob("cut_m_*")}
    seen = (here / "seen").read_text().splitlines()
    assert len(seen) - 21 <= 2  # a point that was being measured at a kill is measured again, and no other is
    sweep(here / "r.yaml", out=here / "whole", keep=keep)
    assert without_seconds(here / "cut.jsonl") == without_seconds(here / "whole.jsonl")
    assert cut == {path.name.replace("whole", "cut"): path.read_bytes() for path in here.glob("whole_m_*")}
    assert len(cut) == (21 if keep == "all" else 1)
    assert not [name for name in names(here) if name.startswith(".")]


def test_interrupted_it_says_how_to_go_on(here: Path) -> None:
    (here / "slow.py").write_text(SLOW.replace("0.05", "0.2"))
    (here / "r.yaml").write_text(MANY)
    command = [sys.executable, "-m", "weightmath", "sweep", "r.yaml", "--jobs", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=here)
    while process.poll() is None and lines(here / "r.jsonl") < 3:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    out, complaint = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    points = lines(here / "r.jsonl") - 1
    assert complaint == (
        "error: interrupted\n  hint: no output was written; "
        f"{points} points are in r.jsonl: --resume goes on from there\n"
    )
    assert not [name for name in names(here) if name.startswith((".", "r_"))]


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_what_is_done_is_not_made_again(here: Path) -> None:
    sweep(here / "r.yaml", out=here / "out", keep="none")
    (here / "eval.py").unlink()
    again = sweep(here / "r.yaml", out=here / "out", keep="best", resume=True)
    same(again, here)
    with pytest.raises(TableError, match="never overwritten"):
        sweep(here / "r.yaml", out=here / "out")
    os.utime(here / "a.ckpt", ns=(1, 1))
    with pytest.raises(TableError, match="belongs to another sweep"):
        sweep(here / "r.yaml", out=here / "out", keep="none", resume=True)


def test_a_file_that_is_not_the_sweep_s_own_is_never_replaced(here: Path) -> None:
    sweep(here / "r.yaml", out=here / "out", keep="none")
    best = min(expected(here), key=lambda one: one[2])
    path = here / f"out_m_{best[0]:g}_{best[1]:g}.ckpt"
    path.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists"):
        sweep(here / "r.yaml", out=here / "out", keep="best", resume=True)
    assert path.read_bytes() == b"mine"


def test_a_metric_that_fails_keeps_what_was_measured(here: Path) -> None:
    (here / "eval.py").write_text(EVAL + "assert not path.endswith('4.ckpt'), 'what is wrong'\n")
    with pytest.raises(MetricError) as caught:
        sweep(here / "r.yaml", out=here / "out")
    assert "AssertionError: what is wrong" in str(caught.value)
    assert f"hint: 4 points are in {here / 'out.jsonl'}: resume=True goes on from there" in str(caught.value)
    (here / "eval.py").write_text(EVAL)
    same(sweep(here / "r.yaml", out=here / "out", resume=True), here)


def refused(here: Path, text: str, **options: Any) -> str:
    (here / "r.yaml").write_text(text)
    before = names(here)
    with pytest.raises(WeightmathError) as caught:
        sweep(here / "r.yaml", out=here / "out", **options)
    assert names(here) == before
    return str(caught.value).replace(f"{here}/", "")


def test_what_is_refused_before_any_work(here: Path) -> None:
    said = refused(here, RECIPE.replace("m_{alpha}_{shift}", "m_{alpha}"), keep="all")
    assert "r.yaml:7: save.m_{alpha}.ckpt: `m_-1.ckpt` would be the file of 2 points\n" in said
    assert "hint: save it as m_{alpha}_{shift}.ckpt" in said
    said = refused(here, RECIPE.partition("metric")[0])
    assert (
        said == "r.yaml:3: vary: nothing is measured: there is no metric\n  hint: metric: python eval.py {checkpoint}"
    )
    assert "`goal` says something of a metric, and there is none" in refused(
        here, RECIPE.partition("metric")[0] + "show: norm(a)", goal="max"
    )
    assert "nothing varies in the recipe" in refused(here, RECIPE.partition("vary")[0] + "save: {m.ckpt: a}")
    assert "`alpha` varies, and cannot be set" in refused(here, RECIPE, sets=["alpha=3"])
    assert "inputs.b: c.ckpt: no such file" in refused(here, RECIPE.replace("b: b.ckpt", "b: c.ckpt"))
    assert "which only you can allow" in refused(here, RECIPE.partition("metric")[0] + "metric: 'eval:f'")
    assert "none: its folder does not exist\n  hint: mkdir -p " in refused(here, RECIPE.replace("'m_", "'none/m_"))
    (here / "out_m_0_0.ckpt").touch()
    assert "out_m_0_0.ckpt: exists\n" in refused(here, RECIPE)
    assert "nothing says which point is best" in refused(
        here, RECIPE.partition("metric")[0] + "show: norm(a)", keep="best"
    )


def test_which_number_counts_must_be_known_to_keep_the_best(here: Path) -> None:
    text = RECIPE.replace(", of: energy, goal: min", "")
    (here / "r.yaml").write_text(text)
    with pytest.raises(MetricError, match="several numbers: energy first"):
        sweep(here / "r.yaml", out=here / "out")
    assert sweep(here / "r.yaml", keep="none").head.goal == {}
    assert sweep(here / "r.yaml", keep="none", of=["first"]).head.goal == {"first": "max"}


def test_ranges_are_for_samples(here: Path) -> None:
    text = RECIPE.replace("  alpha: linspace(-1, 1, 5)\n  shift: [0, 1]\n", "  random: {alpha: 'uniform(0, 1)'}\n")
    assert "r.yaml:3: vary: what varies at random needs a number of points\n  hint: samples: 20" in refused(here, text)
    with pytest.raises(RecipeError, match="there is no such file"):
        sweep(here / "none.yaml")
