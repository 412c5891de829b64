"""The directory is read strictly: files that two readers could understand differently are refused."""

import contextlib
import os
import random
import struct
import zipfile
from pathlib import Path

import pytest

from weightmath.checkpoint.records import Records, read_directory
from weightmath.errors import CheckpointError


def directory_of(data: bytes, path: Path) -> Records:
    path.write_bytes(data)
    with open(path, "rb") as file:
        return read_directory(file.fileno(), len(data))


@pytest.fixture
def archive(tmp_path: Path) -> bytes:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        out.writestr("r/a", b"alpha")
        out.writestr("r/b", b"beta" * 30)
        out.comment = b"a comment"
    return (tmp_path / "a.zip").read_bytes()


def test_records_are_found(archive: bytes, tmp_path: Path) -> None:
    first, second = directory_of(archive, tmp_path / "x").values()
    assert (first.name, archive[first.offset :][: first.size]) == ("r/a", b"alpha")
    assert (second.name, archive[second.offset :][: second.size]) == ("r/b", b"beta" * 30)


def test_every_truncation_is_an_error(archive: bytes, tmp_path: Path) -> None:
    for length in range(len(archive)):
        with pytest.raises(CheckpointError, match="broken zip"):
            directory_of(archive[:length], tmp_path / "x")


def test_flipped_bytes_give_our_error_or_none(archive: bytes, tmp_path: Path) -> None:
    dice = random.Random(1)
    for _ in range(500):
        data = bytearray(archive)
        data[dice.randrange(len(data))] = dice.randrange(256)
        with contextlib.suppress(CheckpointError):
            directory_of(bytes(data), tmp_path / "x")


def test_a_record_twice(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        out.writestr("r/a", b"one")
        with pytest.warns(UserWarning, match="Duplicate"):
            out.writestr("r/a", b"two")
    with pytest.raises(CheckpointError, match="`r/a` twice"):
        directory_of((tmp_path / "a.zip").read_bytes(), tmp_path / "x")


def test_records_that_overlap(archive: bytes, tmp_path: Path) -> None:
    at, sizes = archive.index(b"PK\1\2"), struct.pack("<II", 100, 100)
    longer = archive[:18] + sizes + archive[26 : at + 20] + sizes + archive[at + 28 :]
    with pytest.raises(CheckpointError, match="overlap"):
        directory_of(longer, tmp_path / "x")


def test_a_local_header_with_another_name(archive: bytes, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="differs from the directory"):
        directory_of(archive.replace(b"r/a", b"r/c", 1), tmp_path / "x")


def test_a_directory_of_lies_allocates_nothing(tmp_path: Path) -> None:
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 65535, 65535, 0xFFFFFFF0, 0, 0)
    with pytest.raises(CheckpointError, match="broken zip"):
        directory_of(b"PK\3\4" + os.urandom(100) + end, tmp_path / "x")


def test_many_records_of_all_sizes(tmp_path: Path) -> None:
    """More than are looked at together, near and far from each other: as Python's zipfile reads them."""
    dice = random.Random(2)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        for number in range(5000):
            out.writestr(f"r/{'n' * dice.randrange(40)}{number}", b"x" * dice.choice([0, 1, 300, 5000]))
    data = (tmp_path / "a.zip").read_bytes()
    records = directory_of(data, tmp_path / "x")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        for info in archive.infolist():
            record = records[info.filename]
            assert (record.header, record.size, record.crc) == (info.header_offset, info.file_size, info.CRC)
            assert data[record.offset :][: record.size] == archive.read(info)
    at = data.index(b"PK\3\4", records[[*records][4500]].header)
    with pytest.raises(CheckpointError, match=f"the header of `{[*records][4500]}` differs"):
        directory_of(data[: at + 14] + bytes([data[at + 14] ^ 1]) + data[at + 15 :], tmp_path / "x")
