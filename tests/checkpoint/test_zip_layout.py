"""Headers and directory against Python's zipfile and against torch, past 4 GiB and past 65,535 records."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from weightmath.checkpoint import open_checkpoint
from weightmath.checkpoint.checksum import crc32, crc_of_zeros
from weightmath.checkpoint.records import read_directory
from weightmath.checkpoint.zip_layout import lay_out

GIB = 1 << 30


def write_sparse(path: Path, records: dict[str, bytes | int]) -> None:
    """A zip whose records are bytes, or that many zeros without blocks on the disk."""
    sizes = [content if isinstance(content, int) else len(content) for content in records.values()]
    places = lay_out(records, sizes)
    crcs = [crc_of_zeros(content) if isinstance(content, int) else crc32(content) for content in records.values()]
    with open(path, "wb") as file:
        contents = zip(places.offsets.tolist(), records.values(), strict=True)
        known = [(offset, content) for offset, content in contents if isinstance(content, bytes)]
        for position, content in (*known, *places.around(crcs)):
            file.seek(position)
            file.write(content)
    assert path.stat().st_size == places.size


def test_past_four_gibibytes(tmp_path: Path) -> None:
    path = tmp_path / "huge.pt"
    with torch.serialization.skip_data():
        torch.save(
            {"a": torch.empty(3), "b": torch.empty(GIB + 100), "c": torch.empty(0), "d": torch.empty(5)},
            tmp_path / "t.pt",
        )
    pickle = zipfile.ZipFile(tmp_path / "t.pt").read("t/data.pkl")
    numbers = np.arange(5, dtype=np.float32).tobytes()
    sizes = {"r/data/0": 12, "r/data/1": 4 * (GIB + 100), "r/data/2": 0, "r/data/3": numbers}
    write_sparse(path, {"r/data.pkl": pickle, "r/byteorder": b"little", **sizes, "r/version": b"3\n"})
    assert path.stat().st_blocks * 512 < 1 << 20
    with zipfile.ZipFile(path) as archive:
        assert (
            archive.testzip() is None if os.environ.get("SLOW") else archive.infolist()[3].file_size == 4 * (GIB + 100)
        )
        assert archive.read("r/data/3") == numbers
    loaded = torch.load(path, mmap=True)
    assert loaded["d"].tolist() == [0, 1, 2, 3, 4]
    checkpoint = open_checkpoint(path)
    out = np.empty(5, np.float32)
    with checkpoint.open() as reader:
        reader.read(checkpoint.section().tensors["d"], 0, 5, out)
    assert out.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_equal_to_torch_past_four_gibibytes(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(GIB + 100), "b": torch.zeros(3)}, tmp_path / "t.pt")
    with open(tmp_path / "t.pt", "rb") as file:
        records = read_directory(file.fileno(), (tmp_path / "t.pt").stat().st_size)
        places = lay_out(records, [record.size for record in records.values()])
        crcs = [info.CRC for info in zipfile.ZipFile(tmp_path / "t.pt").infolist()]
        for position, content in places.around(crcs):
            file.seek(position)
            assert file.read(len(content)) == content
        assert not file.read()


def test_seventy_thousand_records(tmp_path: Path) -> None:
    write_sparse(tmp_path / "many.zip", {f"r/{i}": b"x" for i in range(70_000)})
    with zipfile.ZipFile(tmp_path / "many.zip") as archive:
        assert len(archive.infolist()) == 70_000
        assert archive.read("r/69999") == b"x"
    with open(tmp_path / "many.zip", "rb") as file:
        assert len(read_directory(file.fileno(), (tmp_path / "many.zip").stat().st_size)) == 70_000
