"""What is not a checkpoint is refused by its name, whatever the file is called."""

import gzip
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from weightmath.checkpoint import open_checkpoint
from weightmath.errors import CheckpointError

STATE = {"w": torch.ones(3)}


def torchscript(path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)


def zip_of(name: str, content: bytes, method: int = zipfile.ZIP_STORED) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr(name, content)

    return write


def tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.add(__file__)


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.touch(), "is empty"),
    "folder": (lambda path: path.mkdir(), "is a folder without a model in it"),
    "missing": (lambda path: None, "no such file"),
    "text": (lambda path: path.write_text("hello"), "is not a checkpoint"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps({})), "plain pickle"),
    "gzip": (lambda path: path.write_bytes(gzip.compress(b"x")), "gzip"),
    "gguf": (lambda path: path.write_bytes(b"GGUF\3\0\0\0"), "GGUF"),
    "hdf5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n"), "HDF5"),
    "numpy": (lambda path: path.write_bytes(b"\x93NUMPY\1\0"), "numpy"),
    "lfs": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer"),
    "tar": (tar, "tar"),
    "zip": (zip_of("readme.txt", b"hi"), "not one that torch.save wrote"),
    "TorchScript": (torchscript, "TorchScript"),
    "compressed": (zip_of("r/data.pkl", b"\x80\x02}." * 50, zipfile.ZIP_DEFLATED), "compressed"),
}


@pytest.mark.parametrize(("write", "message"), FILES.values(), ids=FILES.keys())
def test_refused_by_name(write: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    write(path)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(path)
    assert caught.value.where is not None
    assert caught.value.where.startswith(str(path))


def test_names_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    torch.save(STATE, path)
    assert open_checkpoint(str(path)).container == "torch zip"


def test_big_endian_is_refused(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "x.pt")
    data = (tmp_path / "x.pt").read_bytes()
    (tmp_path / "y.pt").write_bytes(data.replace(b"little", b"bigbig", 1))
    with pytest.raises(CheckpointError, match="big-endian"):
        open_checkpoint(tmp_path / "y.pt")


def test_every_truncation_is_our_error(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "x.pt")
    data = (tmp_path / "x.pt").read_bytes()
    for length in range(0, len(data), 7):
        (tmp_path / "y.pt").write_bytes(data[:length])
        with pytest.raises(CheckpointError):
            open_checkpoint(tmp_path / "y.pt")


LIES = {
    "a shape larger than the storage": (b"K\x03\x85q", b"K\x04\x85q", "needs 4 elements"),
    "a storage larger than its record": (b"K\x03tq", b"K\x04tq", "has 12 bytes, not 16"),
    "a storage without a record": (b"X\x01\x00\x00\x000q", b"X\x01\x00\x00\x009q", "record of storage `9` is missing"),
    "a shape that is no tuple": (b"K\x03\x85q", b"K\x03]0q", None),
}


@pytest.mark.parametrize(("old", "new", "message"), LIES.values(), ids=LIES.keys())
def test_lies_about_sizes_are_found_at_once(old: bytes, new: bytes, message: str | None, tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "x.pt")
    data = (tmp_path / "x.pt").read_bytes()
    assert old in data
    (tmp_path / "y.pt").write_bytes(data.replace(old, new, 1))
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(tmp_path / "y.pt")
