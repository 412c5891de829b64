"""A short run of every fuzz target, and that a defect would be found. `python -m tests.fuzz` runs them for longer."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz.targets import SEEDS, TARGETS

ROOT = Path(__file__).parents[2]
RUNS = 800
# Elsewhere there is no wheel of atheris, and building it needs a clang with libFuzzer.
HAS_WHEEL = sys.platform == "linux" and platform.machine() == "x86_64"

fuzzing = pytest.mark.skipif(not HAS_WHEEL and find_spec("atheris") is None, reason="no atheris for this platform")


def fuzz(target: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz", target, *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.run(command, cwd=folder, env=environment, **pipes, text=True, errors="replace", check=False)


@fuzzing
@pytest.mark.parametrize("target", sorted({*TARGETS} - {"planted"}))
def test_each_reader_opens_or_refuses(target: str, tmp_path: Path) -> None:
    done = fuzz(target, tmp_path, "--runs", str(RUNS), "--seconds", "20")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "stat::number_of_executed_units" in done.stdout
    assert list(tmp_path.iterdir()) == []


@fuzzing
def test_a_planted_defect_is_found(tmp_path: Path) -> None:
    done = fuzz("planted", tmp_path, "--runs", "200000", "--seconds", "60")
    assert done.returncode != 0
    assert "KeyError: 'planted'" in done.stdout
    (found,) = tmp_path.glob("crash-*")
    assert found.read_bytes().startswith(b"po")
    assert "KeyError: 'planted'" in fuzz("planted", tmp_path, found.name).stdout


@pytest.mark.parametrize("seed", sorted(SEEDS.glob("*/*")), ids=lambda path: "/".join(path.parts[-2:]))
def test_seeds_are_accepted(seed: Path, tmp_path: Path) -> None:
    """So that what grows from them gets past the first check."""
    TARGETS[seed.parent.name](seed.read_bytes(), tmp_path)


def test_every_target_has_seeds() -> None:
    assert {path.name for path in SEEDS.iterdir()} == {*TARGETS} - {"planted"}
