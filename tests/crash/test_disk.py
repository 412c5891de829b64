"""Disks that are full or fail: a clear error, nothing under the output's name, and the same command goes on."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.crash.conftest import HEAD, RECIPES, Driver

KEPT = "what is done is kept: the same run goes on from there, and `weightmath clean` removes it"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_writing_fails(driver: Driver, code: int) -> None:
    whole, digests = driver.undisturbed()
    for share in (0.6, 0.75, 0.9):  # something is done by then
        answer = driver.run(fail=[int(share * whole["calls"]), code])
        assert answer["kind"] == "DiskError"
        place, _, fact = answer["error"].removeprefix(f"{driver.folder}/").partition(": ")
        assert place == "out.ckpt"
        assert fact.removeprefix("its journal ") == f"cannot be written: {os.strerror(code)}\n  hint: {KEPT}"
        assert driver.targets == []
        again = driver.run()
        assert again["resumed"]
        assert (driver.digests(), driver.hidden) == (digests, [])
        driver.forget()


def test_a_disk_that_fails_at_once_leaves_nothing(driver: Driver) -> None:
    answer = driver.run(fail=[1, errno.EIO])
    assert answer["kind"] == "DiskError"
    assert (driver.targets, driver.hidden) == ([], [])


@pytest.mark.parametrize("driver", ["average", "two outputs"], indirect=True)
def test_flushing_fails(driver: Driver) -> None:
    """The last calls of a run flush its outputs; a write error may show only then."""
    whole, digests = driver.undisturbed()
    for back in range(2, 12, 3):
        answer = driver.run(fail=[whole["calls"] - back, errno.EIO])
        if "error" in answer:
            assert answer["kind"] == "DiskError"
            driver.run()
        assert (driver.digests(), driver.hidden) == (digests, [])
        driver.forget()


def test_short_writes_are_completed(driver: Driver) -> None:
    _, digests = driver.undisturbed()
    driver.run(short=70_001)
    assert (driver.digests(), driver.hidden) == (digests, [])


def test_reading_fails(driver: Driver) -> None:
    whole, digests = driver.undisturbed()
    answer = driver.run(fail_reading=[whole["calls"] * 2 // 3, errno.EIO])
    assert answer["kind"] == "CheckpointError"
    assert answer["error"].endswith(f".ckpt: cannot be read: Input/output error\n  hint: {KEPT}")
    assert driver.run()["resumed"]
    assert (driver.digests(), driver.hidden) == (digests, [])


# --- a real file system of a few megabytes


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system in memory with 8 MB; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def onto(driver: Driver, disk: Path) -> None:
    """Let the recipe write to a disk."""
    driver.recipe.write_text(HEAD + RECIPES["average"].replace("out.ckpt", f"{disk}/out.ckpt"))


def test_a_small_disk_that_fills_up(driver: Driver, small_disk: Path) -> None:
    """In memory no blocks are set aside, and something else takes them while the run is writing."""
    whole = driver.run()
    onto(driver, small_disk)
    answer = driver.run(fill=[whole["calls"] // 3, str(small_disk)])
    assert answer["kind"] == "DiskError"
    assert answer["error"].endswith(f"cannot be written: {os.strerror(errno.ENOSPC)}\n  hint: {KEPT}")
    assert [path.name for path in small_disk.iterdir() if not path.name.startswith(".")] == ["filler"]
    (small_disk / "filler").unlink()
    assert driver.run()["resumed"]
    assert os.listdir(small_disk) == ["out.ckpt"]
    expected, found = (torch.load(folder / "out.ckpt")["state_dict"] for folder in (driver.folder, small_disk))
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_disk_that_is_too_small_is_refused_before_any_work(driver: Driver, small_disk: Path) -> None:
    onto(driver, small_disk)
    (small_disk / "filler").write_bytes(bytes(5_000_000))
    answer = driver.run()
    assert answer["kind"] == "OutputError"
    assert "bytes here, and the disk has" in answer["error"]
    assert os.listdir(small_disk) == ["filler"]


def test_what_is_left_counts_as_room_for_what_goes_on(driver: Driver, small_disk: Path) -> None:
    onto(driver, small_disk)
    assert driver.run(writes=20)["signal"] == 9
    assert driver.run()["resumed"]  # 4.6 MB of 8 are taken by the part, which is what the run needs
