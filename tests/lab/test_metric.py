"""Metrics: what commands, workers and functions say, and how they fail."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from weightmath.errors import MetricError, RecipeError
from weightmath.lab.metric import Metric, parse_metric
from weightmath.lab.numbers import numbers_of, parsed
from weightmath.recipe.metric import MetricSpec

PYTHON = sys.executable


def script(folder: Path, text: str, name: str = "eval.py") -> str:
    (folder / name).write_text(text)
    return f"{PYTHON} {name} {{checkpoint}}"


def message(metric: Metric, **given: Any) -> str:
    with metric, pytest.raises(MetricError) as caught:
        metric.evaluate(**given or {"checkpoint": Path("x.ckpt")})
    return str(caught.value)


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("0.93", {"metric": 0.93}),
        ("step 3\n\n-1e-3  \n\n", {"metric": -0.001}),
        (".5", {"metric": 0.5}),
        ("nan", {"metric": math.nan}),
        ('{"accuracy": 0.9, "loss": Infinity, "name": "x", "ok": true}', {"accuracy": 0.9, "loss": math.inf}),
    ],
)
def test_the_last_line_is_what_counts(tmp_path: Path, printed: str, expected: dict[str, float]) -> None:
    command = script(tmp_path, f"import sys\nprint('noise', file=sys.stderr)\nprint({printed!r})")
    with parse_metric(command, folder=tmp_path) as metric:
        found = metric.evaluate(checkpoint=tmp_path / "x.ckpt")
    assert repr(found) == repr(expected)
    assert metric.needs_file


def test_a_path_is_one_word_and_the_folder_is_the_recipe_s(tmp_path: Path) -> None:
    command = script(tmp_path, "import os, sys\nprint(len(sys.argv[1]) + 1000 * (os.getcwd() == sys.path[0]))")
    path = tmp_path / "a b; echo 'c' $HOME.ckpt"
    with parse_metric(f"{command} '{{not a place}}'", folder=tmp_path) as metric:
        assert metric.evaluate(checkpoint=path) == {"metric": 1000 + len(str(path))}


def test_a_command_that_fails_shows_its_last_complaints(tmp_path: Path) -> None:
    command = script(tmp_path, "import sys\n[print('line', n, file=sys.stderr) for n in range(30)]\nsys.exit(3)")
    said = message(parse_metric(command, folder=tmp_path))
    assert f"metric {command}: ended with exit code 3\n  line 22\n" in said
    assert said.endswith("\n  line 29")


@pytest.mark.parametrize(
    ("printed", "fact"),
    [
        ("accuracy: 0.9", "the metric says no number: accuracy: 0.9"),
        ("", "the metric says nothing"),
        ('{"name": "x"}', 'the metric gives no number: {"name": "x"}'),
        ('{"loss": null}', 'the metric gives no number: {"loss": null}'),
        ("true", "the metric gives no number"),
        ("[1, 2]", "the metric gives no number"),
    ],
)
def test_what_is_no_number_is_refused(tmp_path: Path, printed: str, fact: str) -> None:
    said = message(parse_metric(script(tmp_path, f"print({printed!r})"), folder=tmp_path))
    assert fact in said
    assert 'hint: its last line is a number, or JSON such as {"accuracy": 0.93}' in said


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    said = message(parse_metric("no-such-program {checkpoint}", folder=tmp_path))
    assert "`no-such-program` cannot be started: No such file or directory" in said


WORKER = """\
import os, sys
print("loading", file=sys.stderr)
for line in sys.stdin:
    path = line.rstrip("\\n")
    if path.endswith("die.ckpt"):
        print("out of memory", file=sys.stderr)
        sys.exit(9)
    print('{"pid": %d, "length": %d}' % (os.getpid(), len(path)), flush=True)
print("bye", file=open("end", "w"))
"""


def worker(folder: Path, **keys: Any) -> Metric:
    (folder / "serve.py").write_text(WORKER)
    return parse_metric(MetricSpec(worker=f"{PYTHON} serve.py", **keys), folder=folder)


def test_a_worker_is_started_once_and_told_of_the_end(tmp_path: Path) -> None:
    with worker(tmp_path, of="length") as metric:
        found = [metric.evaluate(checkpoint=Path("x" * n)) for n in (1, 5, 3)]
        assert [one["length"] for one in found] == [1, 5, 3]
        assert len({one["pid"] for one in found}) == 1
        assert metric.goals(found[0]) == {"length": "max"}
    assert (tmp_path / "end").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(found[0]["pid"]), 0)


def test_threads_that_ask_at_one_time_have_workers_of_their_own(tmp_path: Path) -> None:
    barrier = threading.Barrier(3)

    def ask(n: int) -> dict[str, float]:
        barrier.wait()
        return metric.evaluate(checkpoint=Path("x" * n))

    with worker(tmp_path) as metric, ThreadPoolExecutor(3) as pool:
        for _ in range(3):
            found = list(pool.map(ask, (1, 2, 3)))
            assert [one["length"] for one in found] == [1, 2, 3]
            pids = {one["pid"] for one in found}
            assert len(pids) <= 3


def test_a_worker_that_dies_shows_what_it_said(tmp_path: Path) -> None:
    with worker(tmp_path) as metric:
        metric.evaluate(checkpoint=Path("x.ckpt"))
        said = message(metric, checkpoint=Path("die.ckpt"))
    assert "the worker ended without an answer\n  loading\n  out of memory" in said


def test_what_runs_is_ended_with_the_metric(tmp_path: Path) -> None:
    command = script(tmp_path, "import time\nopen('begun', 'w').close()\ntime.sleep(60)")
    metric = parse_metric(command, folder=tmp_path)
    failures: list[str] = []
    thread = threading.Thread(target=lambda: failures.append(message(metric)))
    thread.start()
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    metric.stop()
    thread.join(10)
    assert "ended with exit code -15" in failures[0]
    assert "the evaluation was stopped" in message(metric)


def test_a_function_needs_leave_and_gets_a_state(tmp_path: Path) -> None:
    (tmp_path / "judge_one.py").write_text(
        "import torch\n"
        "def total(state): return {'total': sum(x.sum() for x in state.values()), 'name': 'x'}\n"
        "def broken(state): return state['missing']\n"
    )
    with pytest.raises(MetricError) as caught:
        parse_metric("judge_one:total", folder=tmp_path)
    assert "allow_code=True" in str(caught.value)
    assert "judge_one" not in sys.modules
    state = {"a": torch.ones(3), "b": torch.tensor(2.0)}
    metric = parse_metric("judge_one:total", folder=tmp_path, allow_code=True)
    assert (metric.evaluate(state), metric.needs_file) == ({"total": 5.0}, False)
    said = message(parse_metric("judge_one:broken", folder=tmp_path, allow_code=True), state=state)
    assert "fails: KeyError: 'missing'\n" in said
    assert "judge_one.py:3: def broken(state): return state['missing']" in said
    with pytest.raises(MetricError) as caught:
        parse_metric("judge_one:x", folder=tmp_path, allow_code=True)
    assert caught.value.what == "cannot be imported: AttributeError: module 'judge_one' has no attribute 'x'"


def test_a_function_itself_needs_no_leave() -> None:
    metric = parse_metric(lambda state: len(state), goal="min")
    assert metric.evaluate({"a": 1, "b": 2}) == {"metric": 2.0}
    assert metric.goals({"metric": 2.0}) == {"metric": "min"}


def test_which_numbers_count() -> None:
    def both(state: Any) -> dict[str, float]:
        return {"accuracy": 0.5, "loss": 2.0}

    everything = parse_metric(both)
    assert everything.goals(everything.evaluate({})) == {}
    named = parse_metric(both, of=("loss",), goal="min")
    assert named.goals(named.evaluate({})) == {"loss": "min"}
    assert named.evaluate({}) == {"accuracy": 0.5, "loss": 2.0}
    spec = MetricSpec(run="x {checkpoint}", goal={"accuracy": "max", "loss": "min"})
    assert parse_metric(spec).goals({}) == {"accuracy": "max", "loss": "min"}
    assert "gives no `acc`\n  hint: it gives: accuracy loss" in message(parse_metric(both, of=("acc",)), state={})
    assert parse_metric(lambda state: 3.0, of=("acc",)).evaluate({}) == {"acc": 3.0}


def test_a_command_without_a_place_is_refused() -> None:
    with pytest.raises(RecipeError) as caught:
        parse_metric("python eval.py")
    assert "does not say where the checkpoint goes" in str(caught.value)
    with pytest.raises(MetricError, match="cannot be read: No closing quotation"):
        parse_metric("python 'eval.py {checkpoint}")


def test_numbers_of_any_library() -> None:
    answer = {"a": np.float32(0.5), "b": torch.tensor([3]), "c": np.zeros(2), "d": np.bool_(True), "e": 2}
    assert numbers_of(answer, ()) == {"a": 0.5, "b": 3.0, "e": 2.0}
    assert parsed("12") == 12


@pytest.mark.parametrize("kind", ["run", "worker"])
def test_a_program_ends_when_who_waits_is_interrupted(tmp_path: Path, kind: str) -> None:
    (tmp_path / "wait.py").write_text("import os, time\nprint(os.getpid(), file=open('pid', 'w'))\ntime.sleep(60)")
    command = f"{PYTHON} wait.py" + " {checkpoint}" * (kind == "run")
    metric = parse_metric(MetricSpec(**{kind: command}), folder=tmp_path)
    pid = tmp_path / "pid"

    def interrupt() -> None:
        while not (pid.exists() and pid.read_text()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        metric.evaluate(checkpoint=Path("x.ckpt"))
    thread.join()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
