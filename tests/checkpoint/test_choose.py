"""Which section is the model, and which are its twins."""

from pathlib import Path
from typing import Any

import pytest
import torch

from weightmath.checkpoint import Checkpoint, Opaque, open_checkpoint
from weightmath.errors import CheckpointError

ONE, TWO = torch.ones(1), torch.ones(2)


def saved(value: Any, path: Path) -> Checkpoint:
    torch.save(value, path / "x.ckpt")
    return open_checkpoint(path / "x.ckpt")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({"w": ONE}, ""),
        ({"state_dict": {"w": ONE}, "other": {"w": TWO}}, "state_dict"),
        ({"model_state_dict": {"w": ONE}, "ema": {"w": TWO}}, "model_state_dict"),
        ({"model": {"state_dict": {"w": ONE}}, "big": {"w": TWO}}, "model.state_dict"),
        ({"model": {"w": ONE}, "big": {"w": TWO}}, "model"),
        ({"module": {"w": ONE}, "big": {"w": TWO}}, "module"),
        ({"best_loss": ONE, "weights": {"w": TWO}}, "weights"),
        ({"w": TWO, "more": {"v": ONE}}, ""),
        ({"net": {"w": ONE}, "optimizer": {"state": {0: {"exp_avg": TWO}}}}, "net"),
        ({"net": {"w": ONE}, "optimizer_states": [{"state": {0: {"exp_avg": TWO}}}]}, "net"),
    ],
)
def test_the_section_is_found(value: Any, name: str, tmp_path: Path) -> None:
    assert saved(value, tmp_path).section().name == name


def test_sections_can_be_named(tmp_path: Path) -> None:
    checkpoint = saved({"w": ONE, "optimizer": {"state": {0: {"exp_avg": TWO}}}}, tmp_path)
    assert [section.name for section in checkpoint.sections] == ["", "optimizer.state.0"]
    assert list(checkpoint.section("optimizer.state.0").tensors) == ["exp_avg"]
    assert checkpoint.section(".") is checkpoint.section("")
    with pytest.raises(CheckpointError, match=r"no section `optimiser.state.0`(?s:.*)did you mean `optimizer.state.0`"):
        checkpoint.section("optimiser.state.0")


def test_nothing_to_choose(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no named tensors"):
        saved({"epoch": 3}, tmp_path).section()
    with pytest.raises(CheckpointError, match="no named tensors"):
        saved([ONE], tmp_path).section()
    with pytest.raises(CheckpointError, match="holds a whole pickled object"):
        saved(torch.nn.Linear(2, 2), tmp_path).section()
    with pytest.raises(CheckpointError, match="optimizer"):
        saved({"optimizer": {"m": ONE}}, tmp_path).section()


class Sharded(torch.Tensor):
    """As DTensor is one: torch rebuilds it by a class of its own."""


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"a": ONE.as_subclass(Sharded)}, r"`a` is of a class of its own(?s:.*)of a DTensor tensor.full_tensor\(\)"),
        ({"epoch": 1, "model": {"a": torch.eye(2).to_sparse()}}, r"`model.a` is sparse(?s:.*)save tensor.to_dense\(\)"),
    ],
)
def test_what_is_there_in_place_of_tensors(value: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"holds no dense tensors: {told}"):
        saved(value, tmp_path).section()


def test_layout_is_the_floating_point_part(tmp_path: Path) -> None:
    section = saved({"b": TWO, "steps": torch.tensor(3), "a": ONE.half()}, tmp_path).section()
    assert section.layout.names == ("a", "b")
    assert section.layout.template is section
    assert list(section.tensors) == ["b", "steps", "a"]


def test_twins(tmp_path: Path) -> None:
    section = saved({"state_dict": {"w": ONE}, "state_dict_ema": {"w": ONE}, "head": {"v": ONE}}, tmp_path).section()
    assert section.twins == ("state_dict_ema",)
    names = ["model.time_embed.0.weight", "model.out.bias", "first_stage_model.x"]
    state = dict.fromkeys(names, ONE) | {"model_ema.time_embed0weight": ONE, "model_ema.outbias": ONE}
    assert saved({"state_dict": state}, tmp_path).section().twins == ("model_ema.",)
    assert saved({"w": ONE, "schema.w2": ONE, "ema.other": ONE}, tmp_path).section().twins == ()
    assert saved({"w": ONE, "ema_model.w": ONE}, tmp_path).section().twins == ("ema_model.",)


def test_the_tree_shows_everything(tmp_path: Path) -> None:
    value = {
        "epoch": 3,
        "lr": [0.1, None, True],
        "where": ("cpu", b"raw"),
        "w": ONE,
        "kind": torch.float32,
        5: {"x": 1},
    }
    checkpoint = saved(value, tmp_path)
    tree = checkpoint.tree
    assert isinstance(tree, dict)
    assert list(tree) == ["epoch", "lr", "where", "w", "kind", 5]
    assert (tree["epoch"], tree["lr"], tree["where"], tree[5]) == (
        3,
        [0.1, None, True],
        ("cpu", tree["where"][1]),
        {"x": 1},
    )
    assert tree["w"] is checkpoint.tensors[0]
    assert tree["kind"] == Opaque("torch.float32")


def test_one_mapping_in_two_places(tmp_path: Path) -> None:
    state = {"w": ONE}
    checkpoint = saved({"state_dict": state, "best": state}, tmp_path)
    assert [section.name for section in checkpoint.sections] == ["state_dict", "best"]
    assert [tensor.dotted for tensor in checkpoint.tensors] == ["state_dict.w", "best.w"]


def test_a_bomb_of_sharing_is_refused(tmp_path: Path) -> None:
    value: Any = [ONE]
    for _ in range(40):
        value = [value, value]
    with pytest.raises(CheckpointError, match="shares its parts"):
        saved({"w": value}, tmp_path)


def test_modules_are_shown(tmp_path: Path) -> None:
    checkpoint = saved(torch.nn.Linear(2, 3), tmp_path)
    assert [tensor.entry.shape for tensor in checkpoint.tensors] == [(3, 2), (3,)]
    assert isinstance(checkpoint.tree, Opaque)
    assert checkpoint.tree.name == "torch.nn.modules.linear.Linear"
    assert "_parameters.weight" in checkpoint.tensors[0].dotted
