"""Reading against torch.load: the same names, shapes, dtypes, strides and bits."""

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from weightmath.checkpoint import Checkpoint, open_checkpoint
from weightmath.errors import CheckpointError

BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def read_all(checkpoint: Checkpoint, name: str | None = None, pieces: int = 1) -> dict[str, np.ndarray]:
    """Every tensor of a section, read in several pieces."""
    arrays = {}
    with checkpoint.open() as reader:
        for key, tensor in checkpoint.section(name).tensors.items():
            out = np.empty(tensor.entry.size, tensor.entry.dtype.bits)
            cuts = [tensor.entry.size * i // pieces for i in range(pieces + 1)]
            for start, stop in pairwise(cuts):
                reader.read(tensor, start, stop, out[start:stop])
            arrays[key] = out.reshape(tensor.entry.shape)
    return arrays


def same_bits(array: np.ndarray, tensor: torch.Tensor) -> bool:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return array.shape == tuple(tensor.shape) and array.tobytes() == flat.view(torch.uint8).numpy().tobytes()


FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
INTS = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64]


@pytest.mark.parametrize("dtype", [*FLOATS, *INTS, torch.bool, torch.complex64, torch.complex128])
def test_every_dtype(tmp_path: Path, dtype: torch.dtype) -> None:
    state = {
        "a": torch.arange(12.0).reshape(3, 4).to(dtype),
        "b": torch.ones(()).to(dtype),
        "c": torch.empty(0, 3).to(dtype),
    }
    torch.save(state, tmp_path / "x.pt")
    checkpoint = open_checkpoint(tmp_path / "x.pt")
    assert [str(tensor.entry.dtype) for tensor in checkpoint.tensors] == [str(dtype).removeprefix("torch.")] * 3
    arrays = read_all(checkpoint, pieces=5)
    assert list(arrays) == list(state)
    assert all(same_bits(arrays[name], state[name]) for name in state)


def test_shapes_that_are_views(tmp_path: Path) -> None:
    base = torch.arange(5000.0)
    image = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    state = {
        "slice": base[100:110], "transposed": base[:12].reshape(3, 4).t(), "expanded": base[:3, None].expand(3, 7),
        "channels_last": image, "strided": base[::7], "tied": base[100:110],
    }  # fmt: skip
    torch.save(state, tmp_path / "x.pt")
    checkpoint = open_checkpoint(tmp_path / "x.pt")
    arrays = read_all(checkpoint, pieces=3)
    assert all(same_bits(arrays[name], state[name]) for name in state)
    tensors = checkpoint.section().tensors
    assert [tensor.contiguous for tensor in tensors.values()] == [t.is_contiguous() for t in state.values()]
    assert all(tensors[name].stride == state[name].stride() for name in state)
    assert tensors["slice"].storage == tensors["tied"].storage


def test_parameters(tmp_path: Path) -> None:
    tagged = torch.nn.Parameter(torch.ones(2))
    tagged.note = "kept"  # type: ignore[attr-defined]
    state = {"p": torch.nn.Parameter(torch.ones(3)), "frozen": torch.nn.Parameter(torch.ones(3), requires_grad=False)}
    torch.save({**state, "tagged": tagged, "plain": torch.ones(1)}, tmp_path / "x.pt")
    tensors = open_checkpoint(tmp_path / "x.pt").section().tensors
    assert list(tensors) == ["p", "frozen", "tagged", "plain"]


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"a": torch.ones(3)}, path)
    checkpoint = open_checkpoint(path)
    with checkpoint.open() as reader:
        reader.check_unchanged()
        os.utime(path, ns=(1, 1))
        with pytest.raises(CheckpointError, match="changed while it was read"):
            reader.check_unchanged()
    with pytest.raises(CheckpointError, match="changed while it was read"):
        checkpoint.open()


def test_a_file_that_shrinks_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"a": torch.ones(3000)}, path)
    checkpoint = open_checkpoint(path)
    with checkpoint.open() as reader:
        os.truncate(path, 2000)
        with pytest.raises(CheckpointError, match="ends before"):
            reader.read(checkpoint.tensors[0], 0, 3000, np.empty(3000, np.float32))
        with pytest.raises(CheckpointError, match="ends before"):
            reader.read_bytes(1990, 20)


def test_same_bits_can_fail() -> None:
    assert not same_bits(np.ones(3, np.float32), torch.zeros(3))


MANY = {f"w{i}": torch.randn(i % 7 + 1, generator=torch.manual_seed(i)) for i in range(60)}
MANY |= {"front": MANY["w6"][:3], "inside": MANY["w6"][2:5]}  # views of one storage
MANY |= {"transposed": torch.arange(6.0).reshape(2, 3).t(), "large": torch.arange(3000.0), "last": torch.ones(2)}


FEW = (
    ["w9", "w3", "w5"],
    ["w1", "last"],
    ["transposed"],
    ["w4"],
    ["w2", "w2"],
    ["w6", "front"],
    ["w6", "inside", "w7"],
)


@pytest.mark.parametrize("names", [[*MANY][:60], [*MANY], *FEW])
def test_some_tensors_at_once(names: list[str], tmp_path: Path) -> None:
    torch.save(MANY, tmp_path / "x.pt")
    checkpoint = open_checkpoint(tmp_path / "x.pt")
    tensors = [checkpoint.section().tensors[name] for name in names]
    ends = np.cumsum([tensor.entry.size for tensor in tensors])
    spans = [slice(end - tensor.entry.size, end) for end, tensor in zip(ends.tolist(), tensors, strict=True)]
    out = np.empty(ends[-1], np.float32)
    with checkpoint.open() as reader:
        reader.read_tensors(tensors, spans, out)
    assert out.tobytes() == torch.cat([MANY[name].reshape(-1) for name in names]).numpy().tobytes()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="maps are looked at on Linux")
def test_pages_of_a_strided_tensor_are_let_go(tmp_path: Path) -> None:
    torch.save({"w": torch.arange(60_000.0).reshape(100, 600)[:, :599]}, tmp_path / "x.pt")
    checkpoint = open_checkpoint(tmp_path / "x.pt")
    with checkpoint.open() as reader:
        read, out = reader.reading(checkpoint.section().tensors["w"]), np.empty(599, np.float32)
        read(599 * 7, out)
        assert out[0] == 4200
        assert "x.pt" not in Path("/proc/self/maps").read_text()
