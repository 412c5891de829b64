"""What is not a checkpoint is refused by its name, whatever the file is called."""

import bz2
import gzip
import lzma
import os
import pickle
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.packages import package
from weightmath.checkpoint import open_checkpoint
from weightmath.errors import CheckpointError
from weightmath.lab.appender import Appender
from weightmath.lab.table import Head, Row

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


def exported(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.ones(1, 2),)), path)


def npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, w=np.ones(3))


def written(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def results(path: Path) -> None:
    with Appender(path, Head("sweep", ("x",))) as table:
        table.append(Row(0, {"x": 1}, {"loss": 0.5}))
    path.with_name(f"{path.name}.jsonl").rename(path)


FILES: dict[str, tuple[Callable[[Path], object], str, str | None]] = {
    "empty": (written(b""), "is empty", "the save may have failed"),
    "folder": (lambda path: path.mkdir(), "is a folder without a model in it", None),
    "folder of GGUF": (
        lambda path: (path.mkdir(), (path / "q4.gguf").write_bytes(b"GGUF")),
        r"holds GGUF files \(`q4.gguf`\): weights quantized for inference",
        "merge the checkpoint that they were made from",
    ),
    "missing": (lambda path: None, "no such file", None),
    "pipe": (lambda path: os.mkfifo(path), "is not a regular file", "cannot be read twice"),
    "text": (written(b"hello"), "is not a checkpoint", "expected what torch.save writes"),
    "results": (results, "is a table of results", "weightmath report"),
    "lines of JSON": (written(b'{"loss": 1}\n{"loss": 0.5}\n'), "is not valid JSON", "one JSON object"),
    "pickle": (written(pickle.dumps({})), "plain pickle, which torch.save did not write", "torch.save(state_dict"),
    "old pickle": (written(pickle.dumps({"a": [1]}, 0)), "plain pickle of protocol 0", "torch.save(state_dict"),
    "old pickled object": (
        written(b"cmymodule.nets\nNet\n(tR."),
        "plain pickle of protocol 0",
        "torch.save(state_dict",
    ),
    "recipe": (
        written(b"inputs:\n  base: base.ckpt\nsave:\n  out.ckpt: base\n"),
        "is a recipe, not a checkpoint",
        "weightmath run",
    ),
    "gzip": (written(gzip.compress(b"x")), "is a gzip file", "gunzip"),
    "xz": (written(lzma.compress(b"x")), "is an xz file", "unxz"),
    "bzip2": (written(bz2.compress(b"x")), "is a bzip2 file", "bunzip2"),
    "zstd": (written(b"\x28\xb5\x2f\xfd\0"), "is a Zstandard file", "unzstd"),
    "gguf": (written(b"GGUF\3\0\0\0"), "is a GGUF file", "merge the checkpoint that it was made from"),
    "hdf5": (written(b"\x89HDF\r\n\x1a\n"), "is an HDF5 file", "safetensors.numpy.save_file"),
    "onnx": (written(b"\x08\x08\x12\x07pytorch\x1a\x052.1.0"), "is an ONNX model", "merge the checkpoint"),
    "tflite": (written(b"\x1c\0\0\0TFL3"), "is a TensorFlow Lite model", None),
    "numpy": (written(b"\x93NUMPY\1\0"), "is a numpy array", "torch.from_numpy"),
    "npz": (npz, "is a numpy archive", "safetensors.numpy.save_file"),
    "keras": (zip_of("model.weights.h5", b"hi"), "is a Keras model", "safetensors.numpy.save_file"),
    "lfs": (
        written(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n"),
        "is a Git LFS pointer",
        "git lfs pull",
    ),
    "html": (written(b"\n<!DOCTYPE html><html>Log in"), "is a web page", "download the file itself"),
    "xml": (written(b"<?xml version='1.0'?><Error>"), "is a web page", "download the file itself"),
    "json": (written(b'{"hidden_size": 3}'), "is a JSON file", "model.safetensors.index.json"),
    "tar": (tar, "is a tar file", "model_weights.ckpt"),
    "zip": (zip_of("readme.txt", b"hi"), "is a zip file, but not one that torch.save wrote", "no `data.pkl`"),
    "data.pkl on top": (zip_of("data.pkl", b"hi"), "not one that torch.save wrote", "no `data.pkl`"),
    "empty zip": (lambda path: zipfile.ZipFile(path, "w").close(), "is an empty zip file", None),
    "TorchScript": (torchscript, "is TorchScript", "torch.jit.load(path).state_dict()"),
    "exported": (exported, "is an exported program", "torch.export.load(path).state_dict"),
    "compressed": (zip_of("r/data.pkl", b"\x80\x02}." * 50, zipfile.ZIP_DEFLATED), "is compressed", "unpack it"),
}


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("https://host/model.ckpt", "only files of this machine are read: download it first"),
        ("org/name-1.5", "a model in the Hub's local cache is named hf:org/name-1.5"),
        ("org/name.ckpt", None),
        ("here/name", None),
        ("name", None),
    ],
)
def test_what_a_path_that_leads_nowhere_may_mean(
    path: str, hint: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here").mkdir()
    with pytest.raises(CheckpointError, match="no such file") as caught:
        open_checkpoint(path)
    assert caught.value.hint == hint


@pytest.mark.parametrize(("write", "message", "hint"), FILES.values(), ids=FILES.keys())
def test_refused_by_name(write: Callable[[Path], object], message: str, hint: str | None, tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    write(path)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(path)
    assert caught.value.where is not None
    assert caught.value.where.startswith(str(path))
    assert hint is None or hint in str(caught.value.hint)


def test_real_torchscript() -> None:
    path = package("silero-vad", "6.2.3") / "silero_vad" / "data" / "silero_vad.jit"
    with pytest.raises(CheckpointError, match="is TorchScript"):
        open_checkpoint(path)


@pytest.mark.parametrize("nested", [False, True])
def test_a_whole_module_is_named(nested: bool, tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 3))
    torch.save({"net": module, "epoch": 3} if nested else module, tmp_path / "x.pt")
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(tmp_path / "x.pt").section()
    inside = f"{'net.' if nested else ''}<state>._modules.0.<state>._parameters"
    assert str(caught.value) == (
        f"{tmp_path / 'x.pt'}: holds a whole pickled object (`torch.nn.modules.container.Sequential`), not the weights "
        "of one\n  hint: where its code is installed: torch.save(model.state_dict(), 'new.ckpt'); "
        f"or name a `section:`, there are: {inside}"
    )
    assert open_checkpoint(tmp_path / "x.pt").section(inside).layout.names == ("bias", "weight")


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
