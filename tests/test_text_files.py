"""Text files appear whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from weightmath.errors import DiskError, OutputError
from weightmath.text_files import check_free, write_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_replaced_keeps_its_mode_and_its_links(tmp_path: Path) -> None:
    file, link = tmp_path / "r.yaml", tmp_path / "link.yaml"
    file.write_text("old")
    file.chmod(0o640)
    link.symlink_to("r.yaml")
    write_whole(link, "a\r\nb\n")
    assert file.read_bytes() == b"a\r\nb\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert names(tmp_path) == ["link.yaml", "r.yaml"]


def test_a_text_that_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(tmp_path / "r.yaml", "new \ud800")
    assert (tmp_path / "r.yaml").read_text() == "old"
    assert names(tmp_path) == ["r.yaml"]


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_what_the_system_refuses_names_the_file_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(path: Path, *arguments: object, **options: object) -> None:
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(Path, "write_text", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(DiskError) as caught:
        write_whole(tmp_path / "x.yaml", "text")
    assert str(caught.value) == f"{tmp_path}/x.yaml: cannot be written: {os.strerror(code)}"


@pytest.mark.parametrize(
    ("name", "force", "message"),
    [
        ("there", False, "there: exists\n  hint: another name"),
        (".", True, "is a folder\n  hint: name a file in it"),
        ("none/new", True, "none/new: its folder does not exist\n  hint: mkdir -p"),
        ("there", True, None),
        ("new", False, None),
    ],
)
def test_what_is_refused(tmp_path: Path, name: str, force: bool, message: str | None) -> None:
    (tmp_path / "there").touch()
    if message is None:
        check_free(tmp_path / name, force=force, folder="name a file in it")
        return
    with pytest.raises(OutputError) as caught:
        check_free(tmp_path / name, force=force, folder="name a file in it")
    assert message in str(caught.value)
