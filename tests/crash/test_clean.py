"""`weightmath clean`: what stopped runs have left goes, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.conftest import Driver
from weightmath.checkpoint.lock import acquire, hidden
from weightmath.errors import OutputError
from weightmath.files.leftovers import leftovers


def clean(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "weightmath", "clean", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_what_was_left_is_removed(driver: Driver) -> None:
    driver.run(writes=20)
    (driver.folder / ".mine").write_text("keep")
    (driver.folder / ".mine.part").write_text("keep")
    before = driver.hidden
    assert before == [".mine", ".mine.part", ".out.ckpt.weightmath.journal", ".out.ckpt.weightmath.part"]
    dry = clean(driver.folder, "--dry-run")
    assert (dry.returncode, driver.hidden) == (0, before)
    assert [line.split(" (")[0] for line in dry.stdout.splitlines()] == [
        "would remove .out.ckpt.weightmath.journal",
        "would remove .out.ckpt.weightmath.part",
    ]
    done = clean(driver.folder)
    assert done.stdout == dry.stdout.replace("would remove", "removed")
    assert driver.hidden == [".mine", ".mine.part"]
    assert not driver.run()["resumed"]
    assert clean(driver.folder).stdout == "nothing was left\n"
    assert driver.targets == [driver.folder / "out.ckpt"]


def test_one_output_of_two(driver: Driver) -> None:
    driver.run(writes=20)
    stranger = driver.folder / ".else.ckpt.weightmath.part"
    stranger.write_bytes(bytes(10))
    done = clean(driver.folder, "out.ckpt", "--json")
    removed = json.loads(done.stdout)["removed"]
    assert [(one["path"], one["output"], one["kind"]) for one in removed] == [
        (".out.ckpt.weightmath.part", "out.ckpt", "part"),
        (".out.ckpt.weightmath.journal", "out.ckpt", "journal"),
    ]
    assert removed[0]["bytes"] > 1e6  # of 4e6, where no space is kept for what is yet to be written
    assert driver.hidden == [stranger.name]


def test_what_a_run_is_at_work_on_stays(driver: Driver) -> None:
    driver.send(sleep=0.05)
    while len(driver.hidden) < 2:
        pass
    done = clean(driver.folder)
    assert done.stdout.count("a run is at work on it") == 2
    assert driver.answer()["resumed"] is False
    assert driver.targets == [driver.folder / "out.ckpt"]


def test_a_folder_that_stepped_aside_comes_back(tmp_path: Path) -> None:
    """Killed between two renames: the old model lies under a hidden name, and is all that there is."""
    old = hidden(tmp_path / "merged", "old")
    old.mkdir()
    (old / "model.safetensors").write_bytes(b"precious")
    clean(tmp_path)
    assert (tmp_path / "merged" / "model.safetensors").read_bytes() == b"precious"
    old.mkdir()
    clean(tmp_path, "merged")
    assert os.listdir(tmp_path) == ["merged"]


def test_a_link_under_a_hidden_name_is_not_followed(driver: Driver, tmp_path: Path) -> None:
    """In a folder that others can write to, someone may have laid a link where a run will write."""
    mine = tmp_path / "mine"
    mine.write_text("precious")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("precious")
    for kind in ("part", "journal"):
        for target in (mine, tmp_path / "folder", tmp_path / "nowhere"):
            link = hidden(tmp_path / "out.ckpt", kind)
            link.symlink_to(target)
            assert driver.run()["kind"] == "DiskError"
            assert "removed" not in clean(tmp_path).stdout
            link.unlink()
    assert (mine.read_text(), (tmp_path / "folder" / "mine").read_text()) == ("precious", "precious")
    assert not (tmp_path / "nowhere").exists()


def test_no_such_place(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="there is no such folder or output"):
        leftovers(tmp_path / "nowhere" / "out.ckpt")
    assert clean(tmp_path, "nowhere").returncode == 2


def test_a_lock_that_is_taken_while_its_file_is_removed(tmp_path: Path) -> None:
    """Whoever locks a file that has just lost its name gets the new one of that name, or none."""
    path = tmp_path / "x"
    first = acquire(path, path.touch)
    assert first is not None
    assert acquire(path, path.touch) is None
    path.unlink()
    second = acquire(path, path.touch)
    assert second is not None
    assert os.path.samestat(os.fstat(second), os.stat(path))
    os.close(first)
    os.close(second)
