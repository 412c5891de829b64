"""`weightmath landscape`: tables, pictures, barriers and curves, and what is refused before any work."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import typer

from tests.cli.conftest import Ran, state
from weightmath.cli.app import program
from weightmath.cli.landscape import landscape

Cli = Callable[..., Ran]
EVALUATION = """\
import json, sys
import numpy as np
import weightmath as wm
tensors = wm.unflatten(*wm.flatten(sys.argv[1]))
size = float(np.linalg.norm(tensors["blocks.0.weight"].astype("f8")))
print("measured")
print(json.dumps({"loss": size, "accuracy": 1 / (1 + size)}))
"""
FUNCTIONS = """\
def size(state):
    return float(state["blocks.0.weight"].double().norm())

def several(state):
    return {"loss": size(state), "accuracy": 1 / (1 + size(state))}

def many(state):
    return {f"loss of task {i}": i * size(state) for i in range(12)}

def halved(state):
    state["blocks.0.weight"] *= 0.5
"""


@pytest.fixture
def metric(folder: Path) -> str:
    """A command that measures a checkpoint in the folder, and `sizes:size` that measures a state dict."""
    (folder / "evaluate.py").write_text(EVALUATION)
    (folder / "sizes.py").write_text(FUNCTIONS)
    return f"{sys.executable} evaluate.py {{checkpoint}}"


def norm(path: Path) -> float:
    return float(state(path)["blocks.0.weight"].double().norm())


def test_many_metrics_go_below_each_other(cli: Cli, folder: Path, metric: str) -> None:
    models, measure = ("base.ckpt", "chat.ckpt"), ("--metric", "sizes:many", "--allow-code")
    ran = cli("landscape", "line", *models, *measure, "--of", "loss of task 1", "--goal", "min", "--grid", 3, "-o", "l")
    assert ran.code == 0
    assert max(map(len, ran.out.splitlines())) <= 100
    heads = [line for line in ran.out.splitlines() if line.split()[:1] == ["t"]]
    assert " ".join(heads).count("loss of task ") == 2 * 12, "of the points, and of the best one"


def test_a_line_with_its_barrier(cli: Cli, folder: Path, metric: str) -> None:
    ran = cli(
        "landscape",
        "line",
        "base.ckpt",
        "chat.ckpt",
        "--metric",
        metric,
        "--of",
        "loss",
        "--goal",
        "max",
        "--grid",
        3,
        "-o",
        "line",
    )
    assert (ran.code, ran.err) == (0, "")
    assert "barrier of loss: " in ran.out
    assert "max over t in 0..1 of ((1 - t) loss(0) + t loss(1)) - loss(t)" in ran.out
    assert "base.ckpt" in ran.out
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith("line")) == [
        "line.csv",
        "line.html",
        "line.jsonl",
    ]
    assert len((folder / "line.csv").read_text().splitlines()) == 4


def test_a_line_as_json(cli: Cli, folder: Path, metric: str) -> None:
    ran = cli(
        "landscape",
        "line",
        "base.ckpt",
        "chat.ckpt",
        "--metric",
        "sizes:several",
        "--allow-code",
        "--of",
        "loss",
        "--goal",
        "min",
        "--keep",
        "all",
        "--grid",
        3,
        "-o",
        "line",
        "--json",
    )
    report = json.loads(ran.out)
    ends = [norm(folder / f"{name}.ckpt") for name in ("base", "chat")]
    losses = [row["metrics"]["loss"] for row in report["rows"]]
    assert [losses[0], losses[2]] == pytest.approx(ends)
    assert losses[1] == pytest.approx(norm(folder / "line_0.5.ckpt"))
    assert report["barriers"][0]["height"] == pytest.approx(max(0, losses[1] - sum(ends) / 2))
    assert report["best"]["metrics"]["loss"] == min(losses)
    assert report["models"][1] == {"name": "b", "path": "chat.ckpt", "place": [1.0]}


def test_several_numbers_without_a_word_which_counts(cli: Cli, metric: str) -> None:
    ran = cli(
        "landscape",
        "line",
        "base.ckpt",
        "chat.ckpt",
        "--metric",
        "sizes:several",
        "--allow-code",
        "--grid",
        2,
        "-o",
        "line",
    )
    assert ran.code == 0
    assert "no barrier: of several numbers --of says which counts" in ran.out


def test_a_plane_shows_its_models(cli: Cli, folder: Path, metric: str) -> None:
    ran = cli(
        "landscape",
        "plane",
        "base.ckpt",
        "chat.ckpt",
        "code.ckpt",
        "--metric",
        "sizes:size",
        "--allow-code",
        "--grid",
        3,
        "-o",
        "plane",
    )
    assert (ran.code, ran.err) == (0, "")
    for name in ("base", "chat", "code"):
        (line,) = [line for line in ran.out.splitlines() if line.endswith(f"{name}.ckpt")]
        assert float(line.split()[2]) == pytest.approx(norm(folder / f"{name}.ckpt"), rel=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        ["--directions", 1],
        ["--seed", 3],
        ["--along", "chat.ckpt"],
        ["--trajectory", "code.ckpt", "--trajectory", "chat.ckpt"],
    ],
)
def test_around_a_model(cli: Cli, folder: Path, metric: str, options: list[object]) -> None:
    ran = cli(
        "landscape",
        "around",
        "base.ckpt",
        "--metric",
        "sizes:size",
        "--allow-code",
        "--grid",
        3,
        "-o",
        "around",
        *options,
        "--json",
    )
    report = json.loads(ran.out)
    middle = [row for row in report["rows"] if not any(row["params"].values())]
    assert ran.code == 0
    if "--trajectory" not in options:
        assert middle[0]["metrics"]["metric"] == pytest.approx(norm(folder / "base.ckpt"))


def test_a_path_may_be_a_pattern(cli: Cli, folder: Path, metric: str) -> None:
    for number, name in ((2, "chat"), (10, "code"), (11, "base")):
        (folder / f"step_{number}.ckpt").write_bytes((folder / f"{name}.ckpt").read_bytes())
    around = ["landscape", "around", "--metric", "sizes:size", "--allow-code", "--grid", 2, "--json"]
    whole = json.loads(cli(*around, "step_11.ckpt", "--trajectory", "step_*.ckpt", "-o", "one").out)
    assert [model["path"] for model in whole["models"]] == ["step_2.ckpt", "step_10.ckpt", "step_11.ckpt"]
    each = ["--trajectory", "chat.ckpt", "--trajectory", "code.ckpt"]
    parts = json.loads(cli(*around, "base.ckpt", *each, "-o", "two").out)
    assert [model["place"] for model in parts["models"]] == [model["place"] for model in whole["models"]]


def test_noise(cli: Cli, metric: str) -> None:
    ran = cli(
        "landscape",
        "noise",
        "base.ckpt",
        "--scales",
        "0.1,0.3",
        "--seeds",
        2,
        "--metric",
        "sizes:size",
        "--allow-code",
        "-o",
        "noise",
    )
    assert (ran.code, ran.err) == (0, "")
    assert "95% interval of the mean" in ran.out
    assert " 0.3 " in ran.out


def test_of_several_metrics_the_curves_of_those_that_count_are_printed(cli: Cli, metric: str) -> None:
    noise = ["landscape", "noise", "base.ckpt", "--scales", "0.1", "--seeds", 2, "--metric", "sizes:several"]
    ran = cli(*noise, "--allow-code", "--of", "loss", "-o", "noise")
    rows = [line.split() for line in ran.out.splitlines()]
    assert [row[0] for row in rows if len(row) > 3 and row[1] in ("0", "0.1")][:2] == ["loss", "loss"]
    assert "--json has the curves of the other metrics" in ran.out


def test_a_hook_before_the_metric(cli: Cli, folder: Path, metric: str) -> None:
    ran = cli(
        "landscape",
        "line",
        "base.ckpt",
        "chat.ckpt",
        "--metric",
        metric,
        "--recalibrate",
        "sizes:halved",
        "--allow-code",
        "--grid",
        2,
        "-o",
        "line",
        "--json",
    )
    assert json.loads(ran.out)["rows"][0]["metrics"]["loss"] == pytest.approx(norm(folder / "base.ckpt") / 2)


def test_stale_statistics_are_warned_of_unless_they_are_recomputed(cli: Cli, folder: Path, metric: str) -> None:
    for name in ("x", "y"):
        torch.save({**state(folder / "base.ckpt"), "bn.running_mean": torch.zeros(3)}, folder / f"{name}.ckpt")
    line = ["landscape", "line", "x.ckpt", "y.ckpt", "--metric", "sizes:size", "--allow-code", "--grid", 2]
    assert "warning: BatchNorm's running statistics" in cli(*line, "-o", "one").out
    assert "warning" not in cli(*line, "-o", "two", "--recalibrate", "sizes:halved").out


def test_a_twin_that_stays_the_old_model_is_warned_of(cli: Cli, folder: Path, metric: str) -> None:
    for name in ("x", "y"):
        own = state(folder / "base.ckpt")
        twin = {key: tensor.clone() for key, tensor in own.items()}
        torch.save({"state_dict": own, "state_dict_ema": twin}, folder / f"{name}.ckpt")
    ran = cli("landscape", "line", "x.ckpt", "y.ckpt", "--metric", "sizes:size", "--allow-code", "-o", "line")
    assert "stays the OLD model" in " ".join(ran.out.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["line", "base.ckpt", "gone.ckpt"], "gone.ckpt"),
        (["plane", "base.ckpt", "chat.ckpt", "chat.ckpt"], "lie on one line"),
        (["plane", "base.ckpt", "base.ckpt", "chat.ckpt"], "two of the models are equal"),
        (["around", "base.ckpt", "--along", "chat.ckpt", "--trajectory", "code.ckpt"], "keep one"),
        (["around", "base.ckpt", "--along", "chat.ckpt", "--seed", "1"], "--seed says nothing of --along"),
        (["around", "base.ckpt", "--margin", "1"], "what does: --directions --seed --reach"),
        (["around", "base.ckpt", "--reach", "-1"], "not -1"),
        (["around", "base.ckpt", "--trajectory", "code.ckpt"], "at most 1 principal directions, not 2"),
        (["noise", "base.ckpt", "--scales", "a,b"], "`a,b` is no list of numbers"),
        (["noise", "base.ckpt", "--scales", "-1"], "numbers above 0"),
        (["line", "base.ckpt", "chat.ckpt", "--memory", "much"], "`much` is not a size"),
    ],
)
def test_what_is_refused_leaves_nothing(cli: Cli, folder: Path, metric: str, arguments: list[str], said: str) -> None:
    before = set(folder.iterdir())
    ran = cli("landscape", *arguments, "--metric", metric, "-o", "out")
    assert ran.code == 2
    assert said in ran.err
    assert set(folder.iterdir()) == before


def test_results_are_never_overwritten(cli: Cli, folder: Path, metric: str) -> None:
    line = [
        "landscape",
        "line",
        "base.ckpt",
        "chat.ckpt",
        "--metric",
        "sizes:size",
        "--allow-code",
        "--grid",
        2,
        "-o",
        "line",
    ]
    (folder / "line.html").write_text("mine")
    ran = cli(*line)
    assert ran.code == 2
    assert "line.html: exists\n  hint: -o STEM writes another; --resume " in ran.err  # there is no --force
    (folder / "line.html").unlink()
    assert cli(*line).code == 0
    ran = cli(*line)
    assert ran.code == 2
    assert "exists" in ran.err
    assert cli(*line, "--resume").code == 0


def test_the_memory_of_the_work_is_bounded(cli: Cli, folder: Path, metric: str) -> None:
    line = [
        "landscape",
        "line",
        "base.ckpt",
        "chat.ckpt",
        "--metric",
        metric,
        "--of",
        "loss",
        "--grid",
        2,
        "-o",
        "line",
    ]
    ran = cli(*line, "--memory", "1kB")
    assert (ran.code, "memory" in ran.err) == (1, True)
    assert cli(*line, "--memory", "1GB").code == 0


def test_code_runs_only_with_leave(cli: Cli, metric: str) -> None:
    ran = cli("landscape", "line", "base.ckpt", "chat.ckpt", "--metric", "sizes:size", "-o", "line")
    assert ran.code == 2
    assert "--allow-code" in ran.err


def test_without_plotly_there_is_a_table_and_no_picture(
    cli: Cli, folder: Path, metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weightmath.cli.landscape_page.find_spec", lambda name: None)
    ran = cli(
        "landscape",
        "line",
        "base.ckpt",
        "chat.ckpt",
        "--metric",
        "sizes:size",
        "--allow-code",
        "--grid",
        2,
        "-o",
        "line",
    )
    assert "not drawn: plotly is not installed (pip install 'weightmath[lab]')" in ran.out
    assert not (folder / "line.html").exists()


@pytest.mark.parametrize(
    "name", [info.name or info.callback.__name__ for info in landscape.registered_commands if info.callback]
)
def test_help_ends_with_an_example(cli: Cli, name: str) -> None:
    ran = cli("landscape", name, "--help")
    assert (ran.code, ran.err) == (0, "")
    heading, example = ran.out.rstrip("\n").rpartition("\n\n")[2].splitlines()
    assert heading.strip() == "Example:"
    name_of_program, group, command, *arguments = shlex.split(example)
    assert (name_of_program, group, command) == ("weightmath", "landscape", name)
    parser = typer.main.get_command(program()).commands["landscape"]  # type: ignore[attr-defined]
    parser.commands[name].make_context(name, arguments)


@pytest.mark.parametrize(("name", "models"), [("line", "{A} {B}"), ("plane", "{A} {B} {C}"), ("around", "{A}")])
def test_models_are_called_as_the_page_calls_them(cli: Cli, name: str, models: str) -> None:
    assert cli("landscape", name, "--help").out.splitlines()[0].endswith(f"landscape {name} [OPTIONS] {models}")
