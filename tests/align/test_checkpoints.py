"""Alignment from file to file: what moves, what stays, and what is refused before there is an output."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from weightmath.align import align, permuted
from weightmath.checkpoint import open_checkpoint
from weightmath.checkpoint.own_record import own_record
from weightmath.errors import LayoutError, NumericError, OutputError, RecipeError

State = dict[str, torch.Tensor]
INPUTS = torch.randn(7, 8, generator=torch.Generator().manual_seed(1))


def net(seed: int = 0, width: int = 16) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3))


def says(state: State) -> torch.Tensor:
    other = net()
    other.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    with torch.no_grad():
        return other(INPUTS)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A, B and where the output goes."""
    for seed, name in enumerate("ab"):
        state = net(seed).state_dict()
        torch.save({"state_dict": state, "epoch": 3, "hyper": {"lr": 0.1}}, tmp_path / f"{name}.ckpt")
    return tmp_path / "a.ckpt", tmp_path / "b.ckpt", tmp_path / "out.ckpt"


def test_elements_are_moved_and_all_else_is_kept(files: tuple[Path, Path, Path]) -> None:
    found = align(*files)
    before, after = torch.load(files[1]), torch.load(files[2])
    assert {key: value for key, value in after.items() if key != "state_dict"} == {"epoch": 3, "hyper": {"lr": 0.1}}
    assert list(after["state_dict"]) == list(before["state_dict"])
    for name, tensor in before["state_dict"].items():
        expected = permuted(tensor.numpy(), name, found.job.spec, found.matching.orders)
        np.testing.assert_array_equal(after["state_dict"][name].numpy(), expected)
    torch.testing.assert_close(says(after["state_dict"]), says(before["state_dict"]), rtol=1e-5, atol=1e-5)
    assert torch.equal(after["state_dict"]["4.bias"], before["state_dict"]["4.bias"])


def test_it_is_nearer(files: tuple[Path, Path, Path]) -> None:
    found = align(*files)
    a, b, out = (torch.load(path)["state_dict"] for path in files)
    near, far = (
        sum(float((a[name] - s[name]).pow(2).sum()) for name in found.job.spec.of_tensor) ** 0.5 for s in (out, b)
    )
    assert (found.matching.before.distance, found.matching.after.distance) == pytest.approx((far, near), rel=1e-5)
    assert near < far


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_bits_of_every_dtype_are_kept(tmp_path: Path, dtype: torch.dtype) -> None:
    for seed, name in enumerate("ab"):
        torch.save({key: tensor.to(dtype) for key, tensor in net(seed).state_dict().items()}, tmp_path / f"{name}.pt")
    align(tmp_path / "a.pt", tmp_path / "b.pt", tmp_path / "c.pt")
    before, after = torch.load(tmp_path / "b.pt"), torch.load(tmp_path / "c.pt")
    for name, tensor in before.items():
        assert after[name].dtype == dtype
        assert sorted(after[name].flatten().tolist()) == sorted(tensor.flatten().tolist())
    torch.testing.assert_close(says(after), says(before), rtol=1e-3, atol=1e-3)


def test_other_containers(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    align(*files)
    align(files[0], files[1], tmp_path / "out.safetensors")
    align(files[0], tmp_path / "out.safetensors", f"{tmp_path}/folder/")
    first, second = load_file(tmp_path / "out.safetensors"), load_file(tmp_path / "folder" / "model.safetensors")
    for name, tensor in torch.load(files[2])["state_dict"].items():
        assert torch.equal(first[name], tensor)
        assert torch.equal(second[name], tensor)  # it is where it should be already


def test_it_carries_no_record_of_another_model(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    import weightmath as wm

    a, b = wm.open(files[0]), wm.open(files[1])
    wm.save(a + 0.9 * (b - a), tmp_path / "merged.ckpt")
    assert own_record(open_checkpoint(tmp_path / "merged.ckpt"), 1 << 20) is not None
    align(files[0], tmp_path / "merged.ckpt", files[2])
    assert own_record(open_checkpoint(files[2]), 1 << 20) is None


def test_tensors_that_share_a_storage(tmp_path: Path) -> None:
    """A shared tensor that keeps its place stays shared; one that would move in two ways is refused."""
    for seed, name in enumerate("ab"):
        state = net(seed).state_dict()
        torch.save({**state, "4.weight": state["4.weight"]}, tmp_path / f"{name}.pt")
    spec = "p:\n  0.weight: 0\n  0.bias: 0\n  2.weight: 1\n"
    (tmp_path / "spec.yaml").write_text(spec)
    for name in "ab":
        state = torch.load(tmp_path / f"{name}.pt")
        torch.save({**state, "copy": state["4.weight"]}, tmp_path / f"{name}.pt")
    align(tmp_path / "a.pt", tmp_path / "b.pt", tmp_path / "c.pt", spec=str(tmp_path / "spec.yaml"))
    after = torch.load(tmp_path / "c.pt")
    assert after["copy"].data_ptr() == after["4.weight"].data_ptr()
    square = torch.randn(4, 4)
    torch.save({"one": square, "two": square, "in": torch.randn(4, 3)}, tmp_path / "tied.pt")
    (tmp_path / "spec.yaml").write_text("p:\n  in: 0\n  one: 1\n  two: 0\n")
    with pytest.raises(OutputError, match="two names of one storage"):
        align(tmp_path / "tied.pt", tmp_path / "tied.pt", tmp_path / "d.pt", spec=str(tmp_path / "spec.yaml"))


def test_what_keeps_its_old_order_is_said(files: tuple[Path, Path, Path]) -> None:
    state = net(1).state_dict()
    optimizer = {"state": {0: {"exp_avg": torch.zeros(16, 8)}}}
    torch.save({"state_dict": state, "state_dict_ema": net(2).state_dict(), "optimizer": optimizer}, files[1])
    warnings = align(*files).warnings
    assert warnings[0] == "`state_dict_ema` holds the same names and keeps its old order"
    assert "7 tensors outside the weights as they were" in warnings[1]
    (lost,) = align(*files[:2], files[2].with_suffix(".safetensors")).warnings
    assert lost == (
        "the output holds the tensors of the section only, without `state_dict_ema`, `optimizer` of b.ckpt; keep the "
        "container"
    )


def refused(error: type[Exception], match: str, *arguments: Any, **options: Any) -> None:
    output = Path(arguments[2])
    there = output.read_bytes() if output.is_file() else None
    with pytest.raises(error, match=match):
        align(*arguments, **options)
    assert (output.read_bytes() if output.is_file() else None) == there
    assert not [path for path in output.parent.iterdir() if path.name.startswith(".")]


def test_a_number_of_heads_is_the_configurations(tmp_path: Path) -> None:
    """Eight queries, four keys: 8 heads one wide and 4 heads two wide both fit."""
    shapes = {"mlp.gate_proj": (6, 8), "mlp.up_proj": (6, 8), "mlp.down_proj": (8, 6)}
    shapes |= {f"self_attn.{letter}_proj": (4 if letter in "kv" else 8, 8) for letter in "qkvo"}
    for name in "ab":
        (tmp_path / name).mkdir()
        state = {f"model.layers.0.{own}.weight": torch.randn(shape) for own, shape in shapes.items()}
        save_file(state, tmp_path / name / "model.safetensors")
    (tmp_path / "b" / "config.json").write_text('{"num_attention_heads": 4}')
    a, b = tmp_path / "a", tmp_path / "b"
    with pytest.raises(RecipeError, match=r"config\.json: the model has 4 attention heads.*\n  hint: heads=4"):
        align(a, b, f"{tmp_path}/out/", heads=8)
    assert align(a, b, f"{tmp_path}/out/", heads=4).job.spec.by_name["heads of model.layers.0.self_attn"].size == 2
    assert align(b, a, f"{tmp_path}/other/", heads=8).job.spec.by_name["heads of model.layers.0.self_attn"].size == 4


def test_refusals(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    a, b, out = files
    refused(OutputError, "is an input", a, b, b, force=True)
    refused(OutputError, "is an input", a, b, a, force=True)
    refused(OutputError, "no container has the ending", a, b, tmp_path / "out.txt")
    torch.save(net(0, width=17).state_dict(), tmp_path / "wide.pt")
    refused(LayoutError, r"shape \(17,\) for `0.bias`, which has \(16,\) in b.ckpt", tmp_path / "wide.pt", b, out)
    state = net(1).state_dict()
    state["0.weight"][3, 3] = torch.nan
    torch.save(state, tmp_path / "nan.pt")
    refused(NumericError, "NaN", a, tmp_path / "nan.pt", out)
    align(a, b, out)
    refused(OutputError, "exists", a, b, out)
    align(a, b, out, force=True)


def loss(state: State) -> float:
    return float(says(state).pow(2).mean())


def by_program(tmp_path: Path) -> str:
    (tmp_path / "measure.py").write_text(
        "import sys, numpy as np, weightmath as wm\nstate = wm.unflatten(*wm.flatten(sys.argv[1]))\n"
        "x = np.linspace(-1, 1, 8)\nfor i in (0, 2, 4):\n"
        "    x = np.maximum(state[f'{i}.weight'] @ x + state[f'{i}.bias'], 0)\nprint(float(x.sum()))\n"
    )
    return f"{sys.executable} {tmp_path / 'measure.py'} {{checkpoint}}"


@pytest.mark.parametrize("metric", [lambda folder: loss, by_program], ids=["function", "program"])
def test_a_metric_must_stay_the_same(files: tuple[Path, Path, Path], metric: Callable[[Path], Any]) -> None:
    folder = files[0].parent
    found = align(*files, metric=metric(folder))
    assert found.metric is not None
    assert 0.0 not in found.metric[0].values()
    files[2].unlink()
    # Layer 2's columns are forgotten, which square weights do not show.
    (folder / "wrong.yaml").write_text("p:\n  0.weight: 0\n  0.bias: 0\n  4.weight: 1\n")
    wrong = {"spec": str(folder / "wrong.yaml"), "metric": metric(folder)}
    refused(NumericError, "changes the function", *files, **wrong)
