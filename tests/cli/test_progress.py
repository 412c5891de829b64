"""The progress bar: on a terminal only, and cheap."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.test_processes import MAIN
from weightmath.cli.progress import progress_bar
from weightmath.lock import lock


def test_silent_where_no_one_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("running") as told:
        told(1, 2)
    assert capsys.readouterr() == ("", "")


def test_a_bar_on_a_terminal(folder: Path) -> None:
    ours, theirs = pty.openpty()
    assert lock(folder / "recipe.yaml", sums=True).changed
    command = [sys.executable, "-c", MAIN, "run", "recipe.yaml"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, text=True, check=False)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:
        pass  # Linux says EIO where the other side of a terminal is closed
    os.close(ours)
    assert done.returncode == 0
    assert "merged.ckpt" in done.stdout
    assert shown.index(b"opening") < shown.index(b"checking sums") < shown.index(b"running")
    assert b"kB" in shown


def test_rate_and_time_left(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("weightmath.cli.progress._SECONDS_BETWEEN", 0.0)
    with progress_bar("running") as told:
        for step in range(1, 9):
            told(step * 10**6, 10**7)
            time.sleep(0.05)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert re.search(r"8\.0/10\.0 MB [0-9.]+ MB/s 0:00:0", shown)


def test_more_than_expected_stays_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress_bar("running") as told:
        told(30, 20)
    assert "30" not in capsys.readouterr().err
