"""All or nothing: an output is complete under its name, or is not there; and it is a sound zip."""

import filecmp
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.checkpoint.rewrite import rewrite
from weightmath.checkpoint import Image, Writer, open_checkpoint, plan_image
from weightmath.errors import CheckpointError, OutputError


@pytest.fixture
def template(tmp_path: Path) -> Path:
    torch.save(
        {"a": torch.arange(10.0), "b": torch.arange(6.0).reshape(2, 3).t(), "n": torch.tensor(3)}, tmp_path / "t.pt"
    )
    return tmp_path / "t.pt"


@pytest.fixture
def image(template: Path) -> Image:
    section = open_checkpoint(template).section()
    return plan_image(section, section.layout.names)


def fill(writer: Writer) -> None:
    for copy in writer.copies:
        writer.copy(copy)
    writer.write("a", 0, np.zeros(10, np.float32))
    writer.write("b", 0, np.zeros(6, np.float32))


def test_the_file_appears_when_it_is_published(image: Image, tmp_path: Path) -> None:
    with Writer(image, tmp_path / "out.pt") as writer:
        fill(writer)
        writer.commit()
        assert not (tmp_path / "out.pt").exists()
        writer.publish()
    assert torch.load(tmp_path / "out.pt")["a"].tolist() == [0] * 10
    assert sorted(os.listdir(tmp_path)) == ["out.pt", "t.pt"]
    assert (tmp_path / "out.pt").stat().st_size == image.size


def test_nothing_stays_after_a_failure(image: Image, tmp_path: Path) -> None:
    def fail(writer: Writer) -> None:
        with writer:
            writer.write("a", 0, np.zeros(10, np.float32))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail(Writer(image, tmp_path / "out.pt"))
    with Writer(image, tmp_path / "out.pt") as writer:
        fill(writer)
        writer.commit()
    assert os.listdir(tmp_path) == ["t.pt"]


def test_a_killed_run_leaves_no_output(template: Path, tmp_path: Path) -> None:
    program = (
        "import os, sys, numpy as np\n"
        "from weightmath.checkpoint import *\n"
        "s = open_checkpoint(sys.argv[1]).section()\n"
        "w = Writer(plan_image(s, s.layout.names), sys.argv[2])\n"
        "w.write('a', 0, np.zeros(10, np.float32))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, template, tmp_path / "out.pt"], check=False)
    assert done.returncode == -9
    assert not (tmp_path / "out.pt").exists()
    (part,) = [name for name in os.listdir(tmp_path) if name != "t.pt"]
    assert part.startswith(".out.pt.")
    with pytest.raises(CheckpointError):
        open_checkpoint(tmp_path / part)


def test_what_is_missing_or_written_twice_is_noticed(image: Image, tmp_path: Path) -> None:
    def commit(writes: list[tuple[str, int, int]], copies: bool = True) -> None:
        with Writer(image, tmp_path / "out.pt") as writer:
            for copy in writer.copies if copies else ():
                writer.copy(copy)
            for name, start, stop in writes:
                writer.write(name, start, np.zeros(stop - start, np.float32))
            writer.commit()

    whole = ("b", 0, 6)
    commit([("a", 5, 10), ("a", 0, 5), ("b", 3, 6), ("b", 0, 3)])
    for wrong in ([("a", 0, 10)], [("a", 0, 9), whole], [("a", 1, 10), whole], [("a", 0, 6), ("a", 5, 10), whole],
                  [("a", 0, 10), ("b", 0, 5)], [("a", 0, 10), whole, ("b", 1, 2)]):  # fmt: skip
        with pytest.raises(OutputError, match=r"`[ab]` was not written completely"):
            commit(wrong)
    with pytest.raises(OutputError, match="a copied part"):
        commit([("a", 0, 10), whole], copies=False)


def test_bits_that_do_not_fit(image: Image, tmp_path: Path) -> None:
    with Writer(image, tmp_path / "out.pt") as writer:
        for start, bits in ((5, np.zeros(6, np.float32)), (-1, np.zeros(2, np.float32)), (0, np.zeros(2, np.float64))):
            with pytest.raises(OutputError, match="do not fit `a`"):
                writer.write("a", start, bits)


def test_targets_that_are_refused(image: Image, template: Path, tmp_path: Path) -> None:
    (tmp_path / "there.pt").write_text("precious")
    (tmp_path / "folder").mkdir()
    os.link(template, tmp_path / "link.pt")
    for name, force, message in (
        ("there.pt", False, "exists"), ("folder", True, "is a folder"), ("no/out.pt", False, "does not exist"),
        ("t.pt", True, "is the template"), ("link.pt", True, "is the template"),
    ):  # fmt: skip
        with pytest.raises(OutputError, match=message):
            Writer(image, tmp_path / name, force=force)
    assert (tmp_path / "there.pt").read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["folder", "link.pt", "t.pt", "there.pt"]


def test_force_replaces_a_file(image: Image, tmp_path: Path) -> None:
    (tmp_path / "out.pt").write_text("old")
    with Writer(image, tmp_path / "out.pt", force=True) as writer:
        fill(writer)
        writer.commit()
        assert (tmp_path / "out.pt").read_text() == "old"
        writer.publish()
    assert open_checkpoint(tmp_path / "out.pt").section().layout.size == 16


def test_a_target_that_appears_meanwhile_stays(image: Image, tmp_path: Path) -> None:
    with Writer(image, tmp_path / "out.pt") as writer:
        fill(writer)
        writer.commit()
        (tmp_path / "out.pt").write_text("someone else's")
        with pytest.raises(OutputError, match="exists"):
            writer.publish()
    assert (tmp_path / "out.pt").read_text() == "someone else's"


def test_publish_needs_a_commit(image: Image, tmp_path: Path) -> None:
    with Writer(image, tmp_path / "out.pt") as writer, pytest.raises(OutputError, match="not committed"):
        writer.publish()


def test_a_disk_that_is_too_small(image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(tmp_path)
    small = os.statvfs_result((real.f_bsize, 1, 1, 1, 1, *real[5:]))
    monkeypatch.setattr(os, "statvfs", lambda path: small)
    with pytest.raises(OutputError, match="the disk has"):
        Writer(image, tmp_path / "out.pt")
    assert os.listdir(tmp_path) == ["t.pt"]


def test_a_disk_that_fills_up(image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(os, "major", lambda device: 8)
    with pytest.raises(OutputError, match="No space left"):
        Writer(image, tmp_path / "out.pt")
    monkeypatch.setattr(os, "major", lambda device: 0)
    with Writer(image, tmp_path / "out.pt"):  # memory is not written to be reserved
        pass
    monkeypatch.undo()
    with Writer(image, tmp_path / "out.pt") as writer:
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(OutputError, match="No space left"):
            writer.write("a", 0, np.zeros(10, np.float32))
    assert os.listdir(tmp_path) == ["t.pt"]


def test_without_allocation_it_works_too(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    rewrite(template, tmp_path / "out.pt")
    assert filecmp.cmp(template, tmp_path / "out.pt", shallow=False)


def test_a_template_that_changes(image: Image, template: Path, tmp_path: Path) -> None:
    with Writer(image, tmp_path / "out.pt") as writer:
        fill(writer)
        os.utime(template, ns=(1, 1))
        with pytest.raises(CheckpointError, match="changed while it was read"):
            writer.commit()


def test_checksums_are_recomputed(template: Path, tmp_path: Path) -> None:
    with torch.utils.serialization.config.patch("save.use_pinned_memory_for_d2h", False):
        torch.serialization.set_crc32_options(False)
        torch.save(torch.load(template), tmp_path / "nocrc.pt")
        torch.serialization.set_crc32_options(True)
    rewrite(tmp_path / "nocrc.pt", tmp_path / "out.pt")
    check = [sys.executable, "-m", "zipfile", "-t"]
    bad = subprocess.run([*check, tmp_path / "nocrc.pt"], capture_output=True, text=True, check=False)
    good = subprocess.run([*check, tmp_path / "out.pt"], capture_output=True, text=True, check=True)
    assert "corrupted" in bad.stdout
    assert "corrupted" not in good.stdout


def test_small_writes_are_cheap(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(300 * 2000)}, tmp_path / "t.pt")
    section = open_checkpoint(tmp_path / "t.pt").section()
    with Writer(plan_image(section, ["a"]), tmp_path / "out.pt") as writer:
        bits = np.zeros(300, np.float32)
        best = float("inf")
        for start in range(0, 300 * 2000, 300):
            before = time.perf_counter()
            writer.write("a", start, bits)
            best = min(best, time.perf_counter() - before)
    assert best < 30e-6


@pytest.mark.parametrize(
    "names", [["a", "b", "c", "d"], ["d", "c", "b", "a"], ["a", "b", "d", "c"], ["a", "c", "b", "d"]]
)
def test_some_tensors_at_once(names: list[str], tmp_path: Path) -> None:
    """Whatever lies between them: the copied `n` is not written over, and all is as it is one by one."""
    state = {
        "a": torch.arange(10.0), "n": torch.tensor(3), "b": torch.arange(6.0), "c": torch.ones(2), "d": torch.ones(3, 2)
    }  # fmt: skip
    torch.save(state, tmp_path / "t.pt")
    section = open_checkpoint(tmp_path / "t.pt").section()
    ends = np.cumsum([state[name].numel() for name in names]).tolist()
    spans = [slice(end - state[name].numel(), end) for end, name in zip(ends, names, strict=True)]
    bits = np.arange(ends[-1], dtype=np.float32)
    for path in ("at_once.pt", "one_by_one.pt"):
        with Writer(plan_image(section, section.layout.names), tmp_path / path) as writer:
            for copy in writer.copies:
                writer.copy(copy)
            if path == "at_once.pt":
                crcs = writer.write_tensors(names, spans, bits)
            else:
                assert [writer.write(name, 0, bits[span]) for name, span in zip(names, spans, strict=True)] == crcs
            writer.commit()
            writer.publish()
    assert filecmp.cmp(tmp_path / "at_once.pt", tmp_path / "one_by_one.pt", shallow=False)
    written = torch.load(tmp_path / "at_once.pt")
    assert written["n"] == 3
    assert all(
        written[name].reshape(-1).tolist() == bits[span].tolist() for name, span in zip(names, spans, strict=True)
    )
