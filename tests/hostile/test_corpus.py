"""Hostile files are described or refused, and do nothing; Python's own unpickler runs what is in them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.hostile import corpus
from tests.hostile.pickles import canaries, payloads, write_evil
from weightmath.checkpoint import open_checkpoint

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the evil modules, an honest file, and empty folders for files and for canaries."""
    folder = tmp_path_factory.mktemp("hostile")
    for name in ("modules", "files", "pickles", "canaries"):
        (folder / name).mkdir()
    write_evil(folder / "modules", folder / "canaries")
    torch.save({"state_dict": corpus.STATE, "w\u00e4gung \u6f22": [1]}, folder / "honest.ckpt")
    return folder


def imprisoned(cell: Path, files: Path) -> Iterator[dict[str, Any]]:
    """What a process that is watched makes of each file of a folder."""
    command = [sys.executable, "-m", "tests.hostile.prisoner", cell / "modules", cell / "honest.ckpt", files]
    done = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return map(json.loads, done.stdout.splitlines())


@pytest.fixture(scope="module")
def seen(cell: Path) -> dict[str, dict[str, Any]]:
    """What is made of each file of the corpus."""
    labels = {}
    for number, (label, content) in enumerate(corpus.files(cell / "canaries")):
        own = "index-in-a-circle" if "in-a-circle" in label else f"{number:04}"
        (cell / "files" / own).write_bytes(content)
        labels[own] = label
    found = {labels[one["file"]]: one for one in imprisoned(cell, cell / "files")}
    assert len(found) == len(labels)
    return found


def test_there_are_enough(seen: dict[str, dict[str, Any]]) -> None:
    assert len(seen) >= 400


def test_nothing_runs(cell: Path, seen: dict[str, dict[str, Any]]) -> None:
    assert {label: one["escapes"] for label, one in seen.items() if one["escapes"]} == {}
    assert list((cell / "canaries").iterdir()) == []


def test_each_is_opened_or_refused(seen: dict[str, dict[str, Any]]) -> None:
    failed = {label: one["what"] for label, one in seen.items() if one["what"].startswith("failed")}
    assert failed == {}


def test_each_takes_a_moment(seen: dict[str, dict[str, Any]]) -> None:
    assert {label: one["seconds"] for label, one in seen.items() if one["seconds"] > 20} == {}


# Lies that change nothing: these are read as torch reads them.
HARMLESS = (
    "a second data.pkl that is not listed", "data.pkl in another case", "data.pkl of other letters", "a symbolic link",
    "data/0 is a symbolic link", "a zip in the bytes of a tensor", "a record called 'archive/../../evil'",
    "central attributes", "central comment", "central extra", "central flags 32", "central flags 64", "central flags 8192",
    "local extra", "local flags 64", "local flags 8", "root ",
)  # fmt: skip


def test_zips_that_are_opened_hold_what_they_should(cell: Path, seen: dict[str, dict[str, Any]]) -> None:
    opened = {
        label.removeprefix("zip/"): one for label, one in seen.items() if label[:3] == "zip" and one["what"] == "opened"
    }
    assert [label for label in opened if not label.startswith(HARMLESS)] == []
    assert len(opened) < 30
    for label, one in opened.items():
        checkpoint = open_checkpoint(cell / "files" / one["file"])
        tensors = checkpoint.section().tensors
        with checkpoint.open() as reader:
            for name, expected in corpus.STATE.items():
                out = np.empty(expected.numel(), np.float32)
                reader.read(tensors[name], 0, out.size, out)
                right = out.tobytes() == expected.numpy().tobytes()
                assert right or label == "data/0 is a symbolic link", (label, name)


def test_the_same_pickles_sing_under_pythons_unpickler(cell: Path) -> None:
    every = payloads(cell / "canaries")
    for number, payload in enumerate(every.values()):
        (cell / "pickles" / f"{number:04}").write_bytes(payload.pickle)
    command = [sys.executable, HERE / "victim.py", cell / "modules", cell / "pickles"]
    subprocess.run(command, check=True, capture_output=True)
    sang = {label: where.exists() for label, where in canaries(cell / "canaries").items()}
    assert sang == {label: payload.sings for label, payload in every.items()}
    assert sum(sang.values()) > 170
