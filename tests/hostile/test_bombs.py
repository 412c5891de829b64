"""Bombs end in bounded time and memory, described or refused."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.hostile import bombs, corpus
from tests.hostile.test_corpus import imprisoned
from weightmath.checkpoint import open_checkpoint
from weightmath.errors import CheckpointError

SECONDS = 15  # of processor time; the longest list thousands of tensors, three times
MEMORY = 1 << 30


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What is made of each bomb, in a process of two gigabytes at most."""
    cell = tmp_path_factory.mktemp("bombs")
    for name in ("modules", "files"):
        (cell / name).mkdir()
    torch.save({"state_dict": corpus.STATE, "w\u00e4gung \u6f22": [1]}, cell / "honest.ckpt")
    labels = {}
    for number, (label, content) in enumerate(bombs.files()):
        (cell / "files" / f"{number:04}").write_bytes(content)
        labels[f"{number:04}"] = label
    bombs.write_sparse(cell / "files")
    return {labels.get(one["file"], one["file"]): one for one in imprisoned(cell, cell / "files")}


def test_each_is_opened_or_refused(seen: dict[str, dict[str, Any]]) -> None:
    assert len(seen) > 90
    assert {label: one["what"] for label, one in seen.items() if one["what"].startswith("failed")} == {}


def test_each_takes_a_moment(seen: dict[str, dict[str, Any]]) -> None:
    assert {label: one["seconds"] for label, one in seen.items() if one["seconds"] > SECONDS} == {}


def test_memory_is_bounded(seen: dict[str, dict[str, Any]]) -> None:
    """The most that the process has taken for any of them."""
    peaks = {label: one["peak"] for label, one in seen.items()}
    assert max(peaks.values()) < MEMORY, max(peaks, key=lambda label: peaks[label])


def test_what_is_no_file(tmp_path: Path) -> None:
    """Pipes, sockets and devices are not waited for."""
    os.mkfifo(tmp_path / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    for path in (tmp_path / "pipe", tmp_path / "socket", Path("/dev/zero"), Path("/dev/null"), tmp_path):
        with pytest.raises(CheckpointError, match=str(path)):
            open_checkpoint(path)
    listener.close()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for name in ("loop", "nowhere", "x" * 300, "a\0b"):
        with pytest.raises(CheckpointError):
            open_checkpoint(tmp_path / name)
