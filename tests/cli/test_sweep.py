"""`weightmath sweep`, `search` and `soup`: what they print, and how they end."""

from __future__ import annotations

import fcntl
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import TypeAdapter

from tests.cli.conftest import Ran, state
from weightmath.lab import study
from weightmath.plain import as_json
from weightmath.reports.soup import SoupReport
from weightmath.reports.study import StudyReport

Cli = Callable[..., Ran]

# The first number of the first tensor: the standard library alone, since a program that imports torch takes a second.
EVAL = """\
import sys
from array import array
from zipfile import ZipFile
with ZipFile(sys.argv[1]) as archive:
    numbers = array("f", archive.read(archive.namelist()[0].partition("/")[0] + "/data/0"))
print('{"first": %r, "last": %r}' % (numbers[0], numbers[-1]))
"""
METRIC = f"{sys.executable} eval.py {{checkpoint}}"
VARIED = f"""\
inputs: {{base: base.ckpt, chat: chat.ckpt}}
params: {{alpha: 0.5}}
vary:
  alpha: linspace(0, 1, 3)
metric: {{run: "{METRIC}", of: first}}
save:
  m_{{alpha}}.ckpt: base + alpha * (chat - base)
"""


@pytest.fixture
def varied(folder: Path) -> Path:
    (folder / "varied.yaml").write_text(VARIED)
    (folder / "eval.py").write_text(EVAL)
    return folder


def first(path: Path) -> float:
    return float(state(path)["blocks.0.weight"][0, 0])


def test_a_sweep_shows_its_points_and_the_best(cli: Cli, varied: Path) -> None:
    ran = cli("sweep", "varied.yaml", "--jobs", "2")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == "varied.jsonl  (3 points)"
    assert lines[1].split() == ["alpha", "first", "(max)", "last"]
    ends = [first(varied / "base.ckpt"), first(varied / "chat.ckpt")]
    best = 0 if ends[0] > ends[1] else 1
    assert [float(line.split()[0]) for line in lines[2:5]] == [0, 0.5, 1]
    assert [float(line.split()[1]) for line in lines[2:5]] == pytest.approx([ends[0], sum(ends) / 2, ends[1]], rel=1e-4)
    assert lines[6] == "best"
    assert lines[-1].strip() == f"kept as varied_m_{best}.ckpt"
    assert first(varied / f"varied_m_{best}.ckpt") == ends[best]
    again = cli("sweep", "varied.yaml")
    assert (again.code, again.err.splitlines()[0]) == (
        2, "error: varied.jsonl: exists, and results are never overwritten"
    )  # fmt: skip
    resumed = cli("sweep", "varied.yaml", "--resume")
    assert (resumed.code, resumed.out.splitlines()[-1]) == (0, "3 points were there from before")


def test_json_is_the_documented_record(cli: Cli, varied: Path) -> None:
    ran = cli("sweep", "varied.yaml", "--keep", "all", "-o", "out", "--json")
    report = TypeAdapter(StudyReport).validate_json(ran.out)
    assert as_json(report) + "\n" == ran.out
    assert [row.checkpoint for row in report.rows] == ["out_m_0.ckpt", "out_m_0.5.ckpt", "out_m_1.ckpt"]
    assert (report.what, report.table, report.csv, report.goal) == ("sweep", "out.jsonl", "out.csv", {"first": "max"})


def test_many_points_are_cut_short_to_the_best(cli: Cli, varied: Path) -> None:
    (varied / "varied.yaml").write_text(VARIED.replace("linspace(0, 1, 3)", "linspace(0, 1, 30)"))
    (varied / "judge_cli.py").write_text("def half(state): return -abs(float(state['head'][0]) - 0.2)\n")
    options = ("--metric", "judge_cli:half", "--allow-code", "--of", "score", "--keep", "none")
    lines = cli("sweep", "varied.yaml", *options).out.splitlines()
    shown = [float(line.split()[1]) for line in lines[2:26]]
    assert shown == sorted(shown, reverse=True)
    assert lines[26].strip() == "... and 6 more, in varied.csv; the best by score are shown"
    assert cli("sweep", "varied.yaml", "-o", "b", *options[:2]).err.splitlines()[0] == (
        "error: metric judge_cli:half: is code that would run in this process, which only you can allow"
    )


def test_a_metric_that_fails_ends_with_1_and_what_is_done_is_kept(cli: Cli, varied: Path) -> None:
    (varied / "eval.py").write_text(EVAL + "assert not sys.argv[1].endswith('2.ckpt'), 'no third'\n")
    ran = cli("sweep", "varied.yaml", "--json")
    error = json.loads(ran.out)["error"]
    assert ran.code == 1
    assert "AssertionError: no third" in error["what"]
    assert error["hint"] == "2 points are in varied.jsonl: --resume goes on from there"
    (varied / "eval.py").write_text(EVAL)
    assert cli("sweep", "varied.yaml", "--resume").code == 0


@pytest.mark.parametrize("command", ["run", "plan"])
def test_run_and_plan_say_to_sweep(cli: Cli, varied: Path, command: str) -> None:
    ran = cli(command, "varied.yaml")
    assert ran.code == 2
    assert "`alpha` varies, and the recipe is many" in ran.err
    assert "hint: --set alpha=0.5 makes one; weightmath sweep varied.yaml measures every point" in ran.err


def test_where_all_that_varies_is_set_the_recipe_is_that_of_a_point(cli: Cli, varied: Path) -> None:
    assert cli("sweep", "varied.yaml", "--keep", "all", "-o", "out").code == 0
    planned = cli("plan", "varied.yaml", "--set", "alpha=0.5")
    assert (planned.code, planned.err) == (0, "")
    assert cli("run", "varied.yaml", "--set", "alpha=0.5").code == 0
    assert (varied / "m_0.5.ckpt").read_bytes() == (varied / "out_m_0.5.ckpt").read_bytes()
    assert cli("run", "varied.yaml", "--set", "alpha=0.5", "-o", "x.ckpt").code == 0
    assert (varied / "x.ckpt").read_bytes() == (varied / "m_0.5.ckpt").read_bytes()


def test_where_some_of_what_varies_is_set_the_rest_is_told(cli: Cli, varied: Path) -> None:
    text = VARIED.replace("params: {alpha: 0.5}", "params: {alpha: 0.5, flag: true, word: a b}")
    text = text.replace("  alpha: linspace(0, 1, 3)", "  alpha: [0, 1]\n  flag: [true, false]\n  word: [a b, c]")
    (varied / "varied.yaml").write_text(text)
    ran = cli("run", "varied.yaml", "--set", "alpha=1")
    assert ran.code == 2
    assert ran.err.splitlines()[0] == "error: varied.yaml:3: vary: `flag`, `word` vary, and the recipe is many"
    assert "hint: --set alpha=1 --set flag=true --set 'word=a b' makes one; " in ran.err
    assert cli("plan", "varied.yaml", "--set", "alpha=1", "--set", "flag=true", "--set", "word=a b").code == 0
    swept = cli("sweep", "varied.yaml", "--set", "flag=false")
    assert "`flag` varies, and cannot be set" in swept.err
    assert "weightmath run varied.yaml --set alpha=0.5 --set flag=false --set 'word=a b' makes one point" in swept.err


def test_check_takes_recipes_that_vary(cli: Cli, varied: Path) -> None:
    assert cli("check", "varied.yaml").code == 0


def test_a_search_shows_the_front_of_several_goals(cli: Cli, varied: Path) -> None:
    text = VARIED.replace("  alpha: linspace(0, 1, 3)", "  random: {alpha: 'uniform(0, 1)'}").replace(
        "of: first", "goal: {first: max, last: min}"
    )
    (varied / "varied.yaml").write_text(text)
    ran = cli("search", "varied.yaml", "--budget", "4", "--jobs", "2", "--keep", "none")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == "varied.jsonl  (4 points)"
    assert lines[1].split() == ["alpha", "first", "(max)", "last", "(min)"]
    assert "Pareto front: no point is better than these in first and last" in lines
    more = cli("search", "varied.yaml", "--budget", "5", "--keep", "none", "--resume", "--json")
    report = TypeAdapter(StudyReport).validate_json(more.out)
    assert (len(report.rows), report.before) == (5, 4)
    assert all(row in report.rows for row in report.front)
    assert cli("search", "varied.yaml", "--budget", "5", "--sampler", "cma", "-o", "x").code == 2


def test_a_soup_shows_what_was_kept(cli: Cli, varied: Path) -> None:
    names = ("base.ckpt", "chat.ckpt", "code.ckpt")
    ran = cli("soup", *names, "--metric", METRIC, "--of", "first", "-o", "soup.ckpt")
    assert (ran.code, ran.err) == (0, "")
    alone = {name: first(varied / name) for name in names}
    best = max(alone, key=lambda name: alone[name])
    lines = ran.out.splitlines()
    assert lines[0] == "soup.ckpt  (greedy, 1 of 3 models)"  # an average has a smaller first number than the largest
    assert [line.split()[-1] for line in lines[2:5]] == list(names)
    others = [name for name in sorted(names, key=lambda name: -alone[name]) if name != best]
    assert [line.split("  ", 2)[2].strip() for line in lines[5:7]] == [f"left out  with {name}" for name in others]
    assert lines[-2] == f"the soup scores {alone[best]:.6g}, the best model alone {alone[best]:.6g}"
    assert lines[-1] == "the scores are in soup.jsonl"
    assert first(varied / "soup.ckpt") == alone[best]


def test_a_uniform_soup_of_scores(cli: Cli, varied: Path) -> None:
    (varied / "scores.csv").write_text("base,0.1\nchat,0.3\ncode,0.2\n")
    options = ("--scores", "scores.csv", "--uniform", "--top", "2", "-o", "soup.ckpt")
    ran = cli("soup", "base.ckpt", "chat.ckpt", "code.ckpt", *options, "--json")
    report = TypeAdapter(SoupReport).validate_json(ran.out)
    assert as_json(report) + "\n" == ran.out
    assert report.ingredients == ("chat.ckpt", "code.ckpt")
    assert (report.rule, report.best, report.score, report.table) == ("uniform", 0.3, None, "soup.jsonl")
    mean = (first(varied / "chat.ckpt") + first(varied / "code.ckpt")) / 2
    assert first(varied / "soup.ckpt") == pytest.approx(mean)
    assert cli("soup", "base.ckpt", "-o", "b.ckpt").code == 2
    assert cli("soup", "base.ckpt", "chat.ckpt", "--greedy", "-o", "b.ckpt").code == 2


@pytest.mark.parametrize(
    ("arguments", "another"),
    [
        (("sweep", "varied.yaml"), ("sweep", "varied.yaml", "--goal", "min")),
        (("search", "varied.yaml", "--budget", "2"), ("search", "varied.yaml", "--budget", "2", "--seed", "1")),
        (("soup", "base.ckpt", "chat.ckpt", "-o", "own.ckpt"), ("soup", "base.ckpt", "code.ckpt", "-o", "own.ckpt")),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_table_of_another_study_is_refused(
    cli: Cli, varied: Path, arguments: tuple[str, ...], another: tuple[str, ...]
) -> None:
    measured = ("--metric", METRIC, "--of", "first", *(() if "soup" in arguments else ("--keep", "none", "-o", "own")))
    assert cli(*arguments, *measured).code == 0
    (varied / "own.ckpt").unlink(missing_ok=True)
    before = (varied / "own.jsonl").read_bytes()
    ran = cli(*another, *measured, "--resume")
    assert (ran.code, ran.out) == (2, "")
    assert f"own.jsonl: belongs to another {arguments[0]}" in ran.err
    with (varied / "own.jsonl").open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        ran = cli(*arguments, *measured, "--resume")
    assert (ran.code, "another program is writing it" in ran.err) == (2, True)
    assert (varied / "own.jsonl").read_bytes() == before


def test_a_disk_that_holds_no_point_is_refused(cli: Cli, varied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("sweep", "varied.yaml", "-o", "done").code == 0
    full = shutil.disk_usage(varied)._replace(free=0)
    monkeypatch.setattr(study, "shutil", SimpleNamespace(disk_usage=lambda folder: full))
    ran = cli("sweep", "varied.yaml", "--keep", "none")
    assert (ran.code, ran.out) == (2, "")
    assert "error: varied.jsonl: the file of a point takes " in ran.err
    assert cli("sweep", "varied.yaml", "-o", "done", "--resume").code == 0, "which measures nothing"
