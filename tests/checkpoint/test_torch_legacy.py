"""Checkpoints from before PyTorch 1.6: read by ranges, and as templates of zips that keep everything else."""

import io
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.checkpoint.rewrite import rewrite, stored
from tests.packages import package
from weightmath.checkpoint import open_checkpoint
from weightmath.dtypes import DTYPES
from weightmath.errors import CheckpointError

MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
LPIPS = [f"v0.{version}/{net}.pth" for version in (0, 1) for net in ("alex", "squeeze", "vgg")]


def save(content: Any, path: Path) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def load(path: Path) -> Any:
    """What torch loads, in its strict and its lazy mode, which must agree."""
    strict, lazy = torch.load(path, weights_only=True), torch.load(path, weights_only=True, mmap=True)
    assert repr(strict) == repr(lazy)
    return strict


def legacy(pickled: bytes, storages: dict[str, bytes], system: Any = SYSTEM) -> bytes:
    """A file from its parts; a storage's bytes begin with the number of its elements."""
    keys = sorted(storages)
    head = (MAGIC, pickle.dumps(1001, 2), pickle.dumps(system, 2), pickled, pickle.dumps(keys, 2))
    return b"".join((*head, *(storages[key] for key in keys)))


FLOATS = struct.pack("<q3f", 3, 1.0, 2.0, 3.0)
_PID = b"(U\x07storageq\x03ctorch\nFloatStorage\nq\x04U\x0594608q\x05U\x03cpuq\x06K\x03"
# As Python 2 wrote it: strings of bytes, an OrderedDict made from a list of lists, torch 0.1's rebuild function.
PYTHON_2 = (
    b"\x80\x02ccollections\nOrderedDict\nq\x00]q\x01]q\x02(U\x01wctorch._utils\n_rebuild_tensor\nq\x07("
    + _PID
    + b"Ntq\x08QK\x00K\x03\x85q\x09K\x01\x85q\x0atq\x0bRq\x0cea\x85q\x0dRq\x0e."
)


@pytest.mark.parametrize("name", LPIPS)
def test_real_files(name: str, tmp_path: Path) -> None:
    path = package("lpips", "0.1.4") / "lpips" / "weights" / name
    checkpoint = open_checkpoint(path)
    expected = torch.load(path, weights_only=True, map_location="cpu")
    assert checkpoint.container == "torch legacy"
    with checkpoint.open() as reader:
        for key, info in checkpoint.section().tensors.items():
            assert torch.equal(stored(reader, info), expected[key].flatten())
    rewrite(path, tmp_path / "same.pt")
    assert repr(load(tmp_path / "same.pt")) == repr(expected)
    rewrite(path, tmp_path / "half.pt", dtypes=dict.fromkeys(expected, DTYPES["bfloat16"]))
    assert repr(load(tmp_path / "half.pt")) == repr(OrderedDict((k, v.bfloat16()) for k, v in expected.items()))


def test_the_output_is_what_torch_would_save_today(tmp_path: Path) -> None:
    flat = torch.arange(10.0)
    content = {
        "epoch": 7,
        "state_dict": OrderedDict(a=flat[2:8].reshape(2, 3).t(), tied=flat[2:8].reshape(2, 3).t(), n=torch.tensor(3)),
        "optimizer": {"state": {0: {"m": torch.ones(4)}}, "param_groups": [{"lr": 0.5, "params": [0]}]},
    }
    save(content, tmp_path / "old.pt")
    torch.save(content, tmp_path / "archive.pt")
    rewrite(tmp_path / "old.pt", tmp_path / "new.pt")
    new, today = (torch.load(tmp_path / name, weights_only=True) for name in ("new.pt", "archive.pt"))
    assert repr(new) == repr(today)
    again = rewrite(tmp_path / "new.pt", tmp_path / "again.pt")
    assert (tmp_path / "again.pt").read_bytes() == (tmp_path / "new.pt").read_bytes()
    assert again.aliases == {"tied": "a"}
    assert new["state_dict"]["a"].data_ptr() == new["state_dict"]["tied"].data_ptr()


def test_keep_drop_and_devices(tmp_path: Path) -> None:
    save({"state_dict": {"a": torch.ones(3), "b": torch.ones(2)}, "optim": torch.ones(9)}, tmp_path / "old.pt")
    (tmp_path / "gpu.pt").write_bytes((tmp_path / "old.pt").read_bytes().replace(b"cpu", b"xpu"))
    assert open_checkpoint(tmp_path / "gpu.pt").tensors[0].storage.device == "xpu"
    rewrite(tmp_path / "gpu.pt", tmp_path / "new.pt", drop=["optim"])
    assert load(tmp_path / "new.pt").keys() == {"state_dict"}
    rewrite(tmp_path / "gpu.pt", tmp_path / "weights.pt", keep="weights")
    assert load(tmp_path / "weights.pt").keys() == {"state_dict"}


def test_python_2(tmp_path: Path) -> None:
    (tmp_path / "old.pt").write_bytes(legacy(PYTHON_2, {"94608": FLOATS}))
    assert torch.load(tmp_path / "old.pt")["w"].tolist() == [1, 2, 3]
    section = open_checkpoint(tmp_path / "old.pt").section()
    assert [info.entry.shape for info in section.tensors.values()] == [(3,)]
    rewrite(tmp_path / "old.pt", tmp_path / "new.pt", {"w": torch.tensor([4.0, 5.0, 6.0])})
    assert torch.load(tmp_path / "new.pt", mmap=True)["w"].tolist() == [4, 5, 6]


def test_a_whole_module_is_named_and_keeps_its_class(tmp_path: Path) -> None:
    """torch kept the source of classes beside them; a zip only names them."""
    save(torch.nn.Sequential(torch.nn.Linear(2, 3)), tmp_path / "old.pt")
    assert b"class Linear(Module)" in (tmp_path / "old.pt").read_bytes()
    checkpoint = open_checkpoint(tmp_path / "old.pt")
    inside = "<state>._modules.0.<state>._parameters"
    assert [section.name for section in checkpoint.sections] == [inside]
    with pytest.raises(CheckpointError, match="pickled"):
        checkpoint.section()
    rewrite(tmp_path / "old.pt", tmp_path / "new.pt", section=inside)
    assert b"class Linear(Module)" not in (tmp_path / "new.pt").read_bytes()
    old, new = (torch.load(tmp_path / name, weights_only=False) for name in ("old.pt", "new.pt"))
    assert repr(old) == repr(new)
    assert repr(old.state_dict()) == repr(new.state_dict())


LIES = {
    "another version": (lambda data: data.replace(b"M\xe9\x03.", b"M\xea\x03.", 1), "has version 1002"),
    "big-endian": (lambda data: data.replace(b"q\x02\x88", b"q\x02\x89", 1), "big-endian"),
    "views": (lambda data: data.replace(b"K\x03Nt", b"K\x03)t", 1), "PyTorch before 0.4"),
    "a count": (lambda data: data.replace(struct.pack("<q", 3), struct.pack("<q", 4)), "has 4 elements, not 3"),
    "a reference": (lambda data: data.replace(b"K\x03Nt", b"K\x04Nt", 1), "ends before its last storage|not 4"),
    "a key": (lambda data: data.replace(b"X\x05\x00\x00\x0094608", b"X\x05\x00\x00\x0094609"), "does not fit"),
}


@pytest.mark.parametrize(("change", "message"), LIES.values(), ids=LIES.keys())
def test_lies(change: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "old.pt").write_bytes(change(legacy(PYTHON_2, {"94608": FLOATS})))
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(tmp_path / "old.pt")
    assert str(caught.value.where) == str(tmp_path / "old.pt")


def test_every_truncation_is_our_error(tmp_path: Path) -> None:
    data = legacy(PYTHON_2, {"94608": FLOATS})
    for length in range(len(data)):
        (tmp_path / "old.pt").write_bytes(data[:length])
        with pytest.raises(CheckpointError):
            open_checkpoint(tmp_path / "old.pt")


def test_long_heads_are_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weightmath.checkpoint.torch_legacy._FIRST_READ", 64)
    save({f"name{i}": torch.full((2,), float(i)) for i in range(300)}, tmp_path / "old.pt")
    checkpoint = open_checkpoint(tmp_path / "old.pt")
    with checkpoint.open() as reader:
        assert stored(reader, checkpoint.tensors[299]).tolist() == [299, 299]


def test_the_references_of_equal_models_become_equal(tmp_path: Path) -> None:
    """Keys are addresses in memory; as numbers, fine-tunes share their description."""
    for name in "ab":
        save({"w": torch.rand(3), "keep": [torch.rand(2) for _ in name]}, tmp_path / name)
    a, b = (open_checkpoint(tmp_path / name) for name in "ab")
    assert a.tensors is b.tensors


def test_reading_executes_nothing(tmp_path: Path) -> None:
    evil = b"\x80\x02cos\nsystem\nX\x09\x00\x00\x00touch /ow\x85R."
    (tmp_path / "old.pt").write_bytes(legacy(evil, {}))
    checkpoint = open_checkpoint(tmp_path / "old.pt")
    assert "system" in str(checkpoint.tree)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(io.BytesIO((tmp_path / "old.pt").read_bytes()), weights_only=True)
