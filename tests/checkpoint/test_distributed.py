"""Checkpoints of torch.distributed: tensors in boxes over several files, read by ranges."""

import math
import pickle
import random
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from tests.checkpoint.rewrite import rewrite
from tests.checkpoint.sharding import state
from tests.checkpoint.states import every_dtype, same_bits
from tests.checkpoint.test_sharded import values
from weightmath.checkpoint import Opaque, open_checkpoint
from weightmath.checkpoint.description import Block, Place
from weightmath.checkpoint.mosaic import are_a_tensor, before, indices
from weightmath.errors import CheckpointError


def save(content: Any, folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is only one process
        dcp.save(content, checkpoint_id=folder)
    return folder


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that four processes saved together."""
    folder = tmp_path_factory.mktemp("dcp") / "step_100"
    program = Path(__file__).with_name("sharding.py")
    done = subprocess.run([sys.executable, program, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_one_process(tmp_path: Path) -> None:
    tensors = {name: value for name, value in every_dtype().items() if value.numel()}
    save({"model": tensors, "epoch": 3, "optim": {"param_groups": [{"lr": 0.5}]}}, tmp_path / "c")
    checkpoint = open_checkpoint(tmp_path / "c")
    assert (checkpoint.container, checkpoint.writer) == ("torch distributed", "1 file")
    assert same_bits(values(tmp_path / "c"), tensors)
    assert isinstance(checkpoint.tree, dict)
    assert (checkpoint.tree["epoch"], checkpoint.tree["optim"]) == (3, {"param_groups": {0: {"lr": 0.5}}})


def test_four_processes(sharded: Path) -> None:
    checkpoint = open_checkpoint(sharded)
    assert len(checkpoint.files) == 4
    assert {name: len(blocks) for name, blocks in checkpoint.blocks.items()} == {
        "model.rows": 2, "model.columns": 2, "model.both": 4, "model.small": 2, "model.half": 4,
    }  # fmt: skip
    assert same_bits(values(sharded), state())


def test_any_range_of_a_tensor_in_boxes(sharded: Path) -> None:
    checkpoint = open_checkpoint(sharded)
    tensors = checkpoint.section().tensors
    chosen = random.Random(0)
    with checkpoint.open() as reader:
        for name in ("rows", "columns", "both"):
            flat = state()[name].reshape(-1).numpy()
            for _ in range(200):
                start, stop = sorted(chosen.choices(range(flat.size + 1), k=2))
                out = np.empty(stop - start, np.float32)
                reader.read(tensors[name], start, stop, out)
                assert np.array_equal(out, flat[start:stop])


def test_as_a_template(sharded: Path, tmp_path: Path) -> None:
    """Of everything else only what a flat file can hold: the other tensors of the section."""
    for computed in (None, ["rows"]):
        rewrite(sharded, tmp_path / "x.safetensors", form="safetensors", computed=computed, piece=7)
        rewrite(sharded, tmp_path / "x.ckpt", computed=computed, piece=7)
        assert same_bits(load_file(tmp_path / "x.safetensors"), state())
        assert same_bits(torch.load(tmp_path / "x.ckpt", weights_only=True, mmap=True), state())
        for name in ("x.safetensors", "x.ckpt"):
            (tmp_path / name).unlink()


def edit(folder: Path, change: Any) -> None:
    """Change the metadata as torch itself reads and writes it."""
    content = pickle.loads((folder / ".metadata").read_bytes())
    change(content)
    (folder / ".metadata").write_bytes(pickle.dumps(content))


def rename(content: Any, name: str) -> None:
    for place in content.storage_data.values():
        object.__setattr__(place, "relative_path", name)


def chunks(content: Any) -> Any:
    return content.state_dict_metadata["model.w"].chunks


def move(content: Any, **fields: int) -> None:
    place = next(place for index, place in content.storage_data.items() if index.fqn == "model.w")
    for name, value in fields.items():
        object.__setattr__(place, name, value)


BROKEN = {
    "a missing file": (lambda content: rename(content, "__9_0.distcp"), "`__9_0.distcp` cannot be read: No such file"),
    "another folder": (lambda content: rename(content, "../x"), "which is no file beside it"),
    "no parts": (lambda content: chunks(content).clear(), "its parts do not make up the whole tensor"),
    "twice the same part": (lambda content: chunks(content).append(chunks(content)[0]), "do not make up the whole"),
    "a part elsewhere": (
        lambda content: setattr(chunks(content)[0], "offsets", torch.Size([1, 0])), r"part of it at \(1, 0\) is stored",
    ),
    "a smaller part": (
        lambda content: setattr(chunks(content)[0], "sizes", torch.Size([1, 4])),
        r"a part of it is float32 \(6, 4\), not float32 \(1, 4\)",
    ),
    "beyond the file": (lambda content: move(content, offset=1 << 40), "ends before a part of it"),
    "a cut zip": (lambda content: move(content, length=100), "broken zip"),
    "a lost place": (lambda content: content.storage_data.clear(), "is stored nowhere"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_metadata_that_does_not_fit_is_refused(change: Any, message: str, tmp_path: Path) -> None:
    save({"model": {"w": torch.rand(6, 4)}}, tmp_path / "c")
    edit(tmp_path / "c", change)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(tmp_path / "c")
    assert str(caught.value.where).startswith(f"{tmp_path / 'c' / '.metadata'}: model.w")


def test_large_objects_are_not_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weightmath.checkpoint.distributed._LONGEST_OBJECT", 2000)
    save({"model": {"w": torch.ones(2)}, "log": "x" * 3000, "note": "hi"}, tmp_path / "c")
    tree = open_checkpoint(tmp_path / "c").tree
    assert isinstance(tree, dict)
    assert tree["note"] == "hi"
    assert isinstance(tree["log"], Opaque)


def test_every_truncation_is_our_error(tmp_path: Path) -> None:
    save({"model": {"w": torch.rand(3)}}, tmp_path / "c")
    data = (tmp_path / "c" / ".metadata").read_bytes()
    for length in range(0, len(data), 5):
        (tmp_path / "c" / ".metadata").write_bytes(data[:length])
        with pytest.raises(CheckpointError):
            open_checkpoint(tmp_path / "c")


# --- boxes


@st.composite
def tilings(draw: st.DrawFn) -> tuple[tuple[int, ...], list[Block]]:
    """A shape and boxes that fill it: cut again and again across a random axis."""
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=0, max_size=3)))
    boxes = [((0,) * len(shape), shape)]
    for _ in range(draw(st.integers(0, 4))):
        start, size = boxes.pop(draw(st.integers(0, len(boxes) - 1)))
        axes = [axis for axis, length in enumerate(size) if length > 1]
        if not axes:
            boxes.append((start, size))
            continue
        axis = draw(st.sampled_from(axes))
        cut = draw(st.integers(1, size[axis] - 1))
        second = tuple(s + cut * (a == axis) for a, s in enumerate(start))
        boxes.append((start, tuple(cut if a == axis else s for a, s in enumerate(size))))
        boxes.append((second, tuple(s - cut if a == axis else s for a, s in enumerate(size))))
    return shape, [Block(Place(0, 0), start, size) for start, size in boxes]


@given(tilings(), st.data())
def test_boxes_against_numpy(tiling: tuple[tuple[int, ...], list[Block]], data: st.DataObject) -> None:
    shape, blocks = tiling
    numbers = np.arange(math.prod(shape)).reshape(shape)
    start = data.draw(st.integers(0, numbers.size))
    stop = data.draw(st.integers(start, numbers.size))
    for block in blocks:
        inside = numbers[tuple(slice(s, s + n) for s, n in zip(block.start, block.shape, strict=True))].reshape(-1)
        first, last = before(block, shape, start), before(block, shape, stop)
        assert first == (inside < start).sum()
        assert last == (inside < stop).sum()
        assert np.array_equal(indices(block, shape, first, last), inside[first:last])
    assert are_a_tensor(tuple(blocks), shape)
    assert not are_a_tensor(tuple(blocks[1:]), shape)
    assert not are_a_tensor((*blocks, blocks[0]), shape)
    if len(blocks) > 1 and len({block.shape for block in blocks}) == 1:
        assert not are_a_tensor((*blocks[1:], blocks[1]), shape)
