"""Processes that compute chunks for threads: the same bits, and errors that are raised where the work was asked for."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.engine.small import A, B, C, a, assert_same_bits, b, c, small  # noqa: F401 - a fixture
from tests.engine.whole import Memory, layout_of, run
from weightmath import functions as f
from weightmath import methods
from weightmath.algebra.graph import Input, Vector, input_vector
from weightmath.engine import execute, helpers
from weightmath.engine.execute import Settings
from weightmath.errors import CheckpointError, WeightmathError
from weightmath.kernels import one_thread
from weightmath.kernels.selector import Selector

pytestmark = pytest.mark.skipif(not helpers.AVAILABLE, reason="processes are only forked on Linux")

VALUES = {
    "average": (a + b + c) / 3,
    "noise": a + 0.1 * f.gaussian(seed=3),
    "wide statistics": a + (b - a) * (f.norm(a) / f.norm(b)) + f.mean(c, scope="layer"),
    "row statistics": a / f.norm(b, scope="row") + c,
    "statistics of a tensor": a + (b - a) / f.norm(b - a, scope="tensor"),
    "selection": a + f.keep_largest(b - a, 0.2),
    "selection in a tensor": a + f.keep_largest(b - a, 0.2, scope="tensor"),
    "ties": methods.load()["ties"].call(a, [b, c]),
    "whole tensors": methods.load()["low_rank"].call(a, b, rank=2),
}


@pytest.fixture
def helped(monkeypatch: pytest.MonkeyPatch, small: None) -> None:  # noqa: F811
    monkeypatch.setattr(execute, "WORTH_HELPERS", 0)


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("settings", [Settings(2, 128), Settings(4, 640)], ids=str)
def test_the_same_bits(helped: None, name: str, settings: Settings) -> None:
    value = VALUES[name]
    watched = [f.norm(value), f.norm(b - a, scope="layer"), f.mean(c, scope="row")]
    alone, expected = run(value, watched, settings=Settings(1, settings.chunk), template=a)
    together, results = run(value, watched, settings=settings, template=a)
    assert_same_bits(together, alone, name)
    assert str(results.watched) == str(expected.watched)
    ours, theirs = results.outcomes["out"], expected.outcomes["out"]
    assert ours.tensors == theirs.tensors
    assert ours.parts.tobytes() == theirs.parts.tobytes()


def test_samples_are_not_lost(helped: None, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []
    sample = Selector.sample

    def noted(selector: Selector, blocks: list[np.ndarray]) -> None:
        used.append(len(blocks))
        sample(selector, blocks)

    monkeypatch.setattr(Selector, "sample", noted)
    value = a + f.keep_largest(b - a, 0.2)
    counts = []
    for threads in (1, 2):
        used.clear()
        run(value, settings=Settings(threads, 128), template=a)
        counts.append(list(used))
    assert counts[0]
    assert counts[0] == counts[1]


def test_helpers_alone_compute_and_what_they_hold_is_told(
    helped: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    computed: list[object] = []  # by this process: helpers have lists of their own
    compute = execute._Run._compute

    def noted(run: execute._Run, program: object, pieces: object) -> object:
        computed.append(pieces)
        return compute(run, program, pieces)

    monkeypatch.setattr(execute._Run, "_compute", noted)
    _, results = run(a + b, [f.norm(a, scope="tensor")], settings=Settings(2, 128))
    assert (computed, results.beside > 100_000) == ([], True)
    monkeypatch.setattr(helpers, "_MEMORY", tmp_path)  # which cannot be read
    assert run(a + b, settings=Settings(2, 128))[1].beside == 0
    _, results = run(a + b, settings=Settings(1, 128))
    assert (computed != [], results.beside) == (True, 0)


def strange(misdeed: object) -> Vector:
    """An input whose first reading in another process does something bad."""
    here = os.getpid()

    class Strange(Memory):
        def read(self, name: str, start: int, out: np.ndarray) -> None:
            if os.getpid() != here:
                misdeed()  # type: ignore[operator]
            time.sleep(0.001)
            super().read(name, start, out)

    return input_vector(Input("x", layout_of(A), "model", origin=Strange(A)))


def test_an_error_in_a_helper_is_raised_here(helped: None) -> None:
    def fail() -> None:
        raise CheckpointError("ends before its last tensor", where="x.ckpt", hint="fetch it again")

    with pytest.raises(CheckpointError, match=r"x.ckpt: ends before its last tensor\n  hint: fetch it again"):
        run(strange(fail) + b, settings=Settings(2, 128))


def test_a_helper_that_is_killed_is_an_error(helped: None) -> None:
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(WeightmathError, match="a process that computes a part of the work has ended"):
        run(strange(die) + b, settings=Settings(2, 128))


def test_an_interrupt_does_not_wait_for_what_helpers_are_at(helped: None, tmp_path: Path) -> None:
    def interrupt() -> None:
        with suppress(FileExistsError):
            (tmp_path / "once").touch(exist_ok=False)
            os.kill(os.getppid(), signal.SIGINT)
        time.sleep(60)

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(strange(interrupt) + b, settings=Settings(2, 128))
    assert time.monotonic() - started < 30


# --- a whole run, as a command

FORCED = "import weightmath.engine.execute as e; e.WORTH_HELPERS = 0; from weightmath.cli import main; main()"


def command(folder: Path, *words: str) -> list[str]:
    recipe = folder / "merge.yaml"
    recipe.write_text("inputs: {a: a.ckpt, b: b.ckpt}\nsave:\n  out.ckpt: a + keep_largest(b - a, density=0.3)\n")
    return [sys.executable, "-c", FORCED, "run", str(recipe), *words]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, name in enumerate(("a", "b")):
        generator = torch.Generator().manual_seed(seed)
        state = {f"layers.{i}": torch.randn(700, 900, generator=generator).half() for i in range(12)}
        torch.save({"state_dict": state}, tmp_path / f"{name}.ckpt")
    return tmp_path


def test_the_same_file_with_the_same_fingerprints(folder: Path) -> None:
    made = []
    for threads in ("1", "3"):
        subprocess.run(command(folder, "--threads", threads, "--force"), check=True, capture_output=True)
        made.append((folder / "out.ckpt").read_bytes())
    assert made[0] == made[1]


def test_killed_and_resumed(folder: Path) -> None:
    subprocess.run(command(folder, "--threads", "1"), check=True, capture_output=True)
    expected = (folder / "out.ckpt").read_bytes()
    (folder / "out.ckpt").unlink()
    for seconds in (0.6, 0.9, 1.2, 1.5, 1.8):
        with subprocess.Popen(command(folder, "--threads", "3"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as one:
            time.sleep(seconds)
            one.kill()
        assert not (folder / "out.ckpt").exists() or (folder / "out.ckpt").read_bytes() == expected
    done = subprocess.run(command(folder, "--threads", "3", "--force"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (folder / "out.ckpt").read_bytes() == expected
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_where_processes_must_not_have_children_threads_compute(helped: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As within `multiprocessing.Pool`."""
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # type: ignore[attr-defined]
    together, _ = run(VALUES["average"], settings=Settings(2, 128))
    assert_same_bits(together, run(VALUES["average"], settings=Settings(1, 128))[0], "average")


def test_linear_algebra_in_a_process_that_was_forked_while_another_thread_set_its_threads() -> None:
    with one_thread.one_thread(), one_thread._inside.lock:
        helper = helpers.Helper(lambda _: _entered(), lambda: None, ())
    try:
        assert helper.ask("now") == 1
    finally:
        helper.close()


def _entered() -> int:
    assert one_thread._inside.lock.acquire(timeout=5)
    one_thread._inside.lock.release()
    with one_thread.one_thread():
        return len(one_thread._inside.found)


def test_helpers_select_from_tensors_too(helped: None, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[int] = []
    ask = helpers.Helpers.ask

    def noted(self: helpers.Helpers, request: tuple[int, object, object]) -> object:
        rounds.append(request[0])
        return ask(self, request)

    monkeypatch.setattr(helpers.Helpers, "ask", noted)
    run(VALUES["selection in a tensor"], settings=Settings(2, 128))
    assert {0, 1} <= set(rounds)
