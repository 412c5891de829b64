"""LoRA adapters: PEFT's and kohya's, against products written out in torch."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.delta.conftest import state
from tests.delta.test_kinds import numbers
from tests.delta.test_whole_file import section
from weightmath.delta import api as delta
from weightmath.delta.api import Options
from weightmath.errors import CheckpointError, DiskError, LayoutError, OutputError

NAMES = ["layers.0.weight", "layers.2.weight", "layers.3.weight"]


@pytest.fixture(autouse=True)
def base(folder):
    torch.save(state(0), "base.pt")
    torch.save(state(1, 1e-3), "tuned.pt")
    return section("base.pt")


def factors(rank: int = 3) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    found = {}
    for name in NAMES:
        rows, *rest = state(0)[name].shape
        ones = [1 for _ in rest[1:]]
        wide, tall = torch.randn(rank, *rest, generator=generator), torch.randn(rows, rank, *ones, generator=generator)
        found[name] = (wide, tall)
    return found


def product(wide: torch.Tensor, tall: torch.Tensor, scale: float, name: str) -> np.ndarray:
    whole = (tall.flatten(1).double() @ wide.flatten(1).double()) * scale
    return whole.reshape(state(0)[name].shape).float().numpy()


def peft(folder: str = "adapter", **config) -> None:
    Path(folder).mkdir()
    tensors = {}
    for name, (wide, tall) in factors().items():
        module = f"base_model.model.{name.removesuffix('.weight')}"
        tensors |= {f"{module}.lora_A.weight": wide, f"{module}.lora_B.weight": tall}
    save_file(tensors, f"{folder}/adapter_model.safetensors")
    Path(folder, "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 3, "lora_alpha": 12, **config})
    )


@pytest.mark.parametrize(
    ("config", "scales"),
    [
        ({}, [4, 4, 4]),
        ({"use_rslora": True}, [12 / 3**0.5] * 3),
        ({"alpha_pattern": {"layers.2": 6}}, [4, 2, 4]),
    ],
)
def test_a_peft_adapter_is_the_sum_of_its_products(base, config, scales):
    peft(**config)
    delta.from_adapter("adapter", base, "x.delta")
    found = numbers()
    assert list(found) == NAMES
    for name, scale in zip(NAMES, scales, strict=True):
        np.testing.assert_allclose(found[name], product(*factors()[name], scale, name), rtol=1e-4, atol=1e-4)
        norm = np.linalg.norm(product(*factors()[name], scale, name).astype(np.float64))
        assert delta.open_delta("x.delta").delta.records[name].norm == pytest.approx(norm, rel=1e-4)
    delta.apply(base, [delta.open_delta("x.delta")], "out.pt", scales=0.5)
    assert torch.equal(torch.load("out.pt")["layers.1.weight"], state(0)["layers.1.weight"])
    baked = state(0)["layers.0.weight"].numpy() + np.float32(0.5) * found["layers.0.weight"]
    np.testing.assert_array_equal(torch.load("out.pt")["layers.0.weight"].numpy(), baked)


def test_a_kohya_file_is_too(base):
    tensors = {}
    for name, (wide, tall) in factors().items():
        module = "lora_unet_" + name.removesuffix(".weight").replace(".", "_")
        tensors |= {f"{module}.lora_down.weight": wide.half(), f"{module}.lora_up.weight": tall.half()}
        tensors[f"{module}.alpha"] = torch.tensor(1.5)
    save_file(tensors, "kohya.safetensors")
    delta.from_adapter("kohya.safetensors", base, "x.delta")
    for name in NAMES:
        wide, tall = (part.half().float() for part in factors()[name])
        np.testing.assert_allclose(numbers()[name], product(wide, tall, 0.5, name), rtol=1e-4, atol=1e-4)


def test_a_low_rank_delta_becomes_a_peft_adapter_and_comes_back(base):
    delta.make(base, section("tuned.pt"), "x.delta", Options("low-rank", energy=0.5))
    file = delta.open_delta("x.delta")
    assert delta.to_adapter(file, "adapter") == ["layers.1.weight"]
    tensors = load_file("adapter/adapter_model.safetensors")
    config = json.loads(Path("adapter/adapter_config.json").read_text())
    for name in NAMES:
        module = name.removesuffix(".weight")
        wide, tall = (tensors[f"base_model.model.{module}.lora_{part}.weight"] for part in "AB")
        rank = config["rank_pattern"].get(module, config["r"])
        alpha = config["alpha_pattern"].get(module, config["lora_alpha"])
        assert len(wide) == rank == file.delta.records[name].rank
        np.testing.assert_allclose(numbers()[name], product(wide, tall, alpha / rank, name), rtol=1e-4, atol=1e-7)
    delta.from_adapter("adapter", base, "back.delta")
    for name in NAMES:
        np.testing.assert_array_equal(numbers("back.delta")[name], numbers()[name])
    with pytest.raises(OutputError, match="exists"):
        delta.to_adapter(file, "adapter")


@pytest.mark.parametrize("name", ["adapter", "lora.safetensors"])
def test_a_disk_that_fails_leaves_no_adapter(base, folder, monkeypatch, name):
    delta.make(base, section("tuned.pt"), "x.delta", Options("low-rank", rank=1))
    file = delta.open_delta("x.delta")
    before = sorted(folder.iterdir())

    def broken(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("weightmath.delta.adapter_writing.os.replace", broken)
    with pytest.raises(DiskError, match="No space left"):
        delta.to_adapter(file, name)
    assert sorted(folder.iterdir()) == before


def test_what_is_no_plain_lora_is_refused(base):
    peft("dora", use_dora=True)
    peft("ia3", peft_type="IA3")
    for name, message in (("dora", "DoRA"), ("ia3", "IA3")):
        with pytest.raises(CheckpointError, match=message):
            delta.from_adapter(name, base, "x.delta")
    save_file({"layers.0.hada_w1_a": torch.ones(3)}, "loha.safetensors")
    with pytest.raises(CheckpointError, match="no part of a plain LoRA"):
        delta.from_adapter("loha.safetensors", base, "x.delta")
    save_file({"lora_unet_x.lora_up.weight": torch.ones(3, 1)}, "half.safetensors")
    with pytest.raises(CheckpointError, match="one of two matrices"):
        delta.from_adapter("half.safetensors", base, "x.delta")
    whole = {"lora_unet_x.lora_up.weight": torch.ones(3, 1), "lora_unet_x.lora_down.weight": torch.ones(1, 3)}
    save_file(whole, "strange.safetensors")
    with pytest.raises(LayoutError, match="no weight for `lora_unet_x`"):
        delta.from_adapter("strange.safetensors", base, "x.delta")
    delta.make(base, section("tuned.pt"), "x.delta", Options("int8"))
    with pytest.raises(LayoutError, match="no products"):
        delta.to_adapter(delta.open_delta("x.delta"), "adapter")
    assert not Path("adapter").exists()


def test_baked_into_a_folder(base):
    peft()
    delta.from_adapter("adapter", base, "x.delta")
    delta.apply(base, [delta.open_delta("x.delta")], "baked/")
    delta.apply(base, [delta.open_delta("x.delta")], "baked.pt")
    found, expected = load_file("baked/model.safetensors"), torch.load("baked.pt")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"alpha_pattern": {"(a+)+b": 1}}, "no name with a few wildcards"),
        ({"alpha_pattern": {"a.*b.*c.*d.*e.*": 1}}, "no name with a few wildcards"),
        ({"alpha_pattern": {"a?" * 60: 1}}, "no name with a few wildcards"),
        ({"alpha_pattern": {"layers[": 1}}, "no name with a few wildcards"),
        ({"alpha_pattern": ["layers"]}, "no table"),
        ({"alpha_pattern": {"layers": None}}, "an alpha is None"),
        ({"lora_alpha": "12"}, "an alpha is '12'"),
        ({"lora_alpha": True}, "an alpha is True"),
    ],
)
def test_configurations_from_strangers(base, config, message):
    peft(**config)
    with pytest.raises(CheckpointError, match=message) as error:
        delta.from_adapter("adapter", base, "x.delta")
    assert str(error.value).startswith("adapter/adapter_config.json: ")
    assert not Path("x.delta").exists()


def test_embeddings_have_a_form_of_their_own(folder):
    """PEFT multiplies lora_embedding_B by lora_embedding_A and turns the product round."""
    names = ("model.embed_tokens.weight", "transformer.wte.weight", "embed_out.weight", "same.weight")
    generator = torch.Generator().manual_seed(5)
    old = {name: torch.randn(20, 6, generator=generator) for name in names}
    new = {
        name: value + torch.randn(20, 2, generator=generator) @ torch.randn(2, 6, generator=generator)
        for name, value in old.items()
    }
    new["same.weight"] = old["same.weight"]
    torch.save(old, "old.pt")
    torch.save(new, "new.pt")
    delta.make(section("old.pt"), section("new.pt"), "x.delta", Options("low-rank", rank=2))
    assert delta.to_adapter(delta.open_delta("x.delta"), "adapter") == []
    tensors = load_file("adapter/adapter_model.safetensors")
    for name in names[:2]:
        module = f"base_model.model.{name.removesuffix('.weight')}"
        turned = tensors[f"{module}.lora_embedding_B"] @ tensors[f"{module}.lora_embedding_A"]
        np.testing.assert_allclose(turned.T.numpy(), (new[name] - old[name]).numpy(), atol=1e-5)
    assert "base_model.model.embed_out.lora_A.weight" in tensors
    assert not [name for name in tensors if "same" in name]
    delta.from_adapter("adapter", section("old.pt"), "back.delta")
    for name, value in numbers("back.delta").items():
        np.testing.assert_array_equal(value, numbers()[name])


KOHYA = [
    {
        "model.diffusion_model.input_blocks.1.0.in_layers.2.weight": "lora_unet_down_blocks_0_resnets_0_conv1",
        "model.diffusion_model.output_blocks.9.1.proj_in.weight": "lora_unet_up_blocks_3_attentions_0_proj_in",
        "cond_stage_model.transformer.text_model.layers.0.fc1.weight": "lora_te_text_model_layers_0_fc1",
    },
    {
        "model.diffusion_model.input_blocks.1.0.in_layers.2.weight": "lora_unet_input_blocks_1_0_in_layers_2",
        "conditioner.embedders.0.transformer.text_model.fc1.weight": "lora_te1_text_model_fc1",
        "conditioner.embedders.1.model.transformer.resblocks.0.c_fc.weight": "lora_te2_transformer_resblocks_0_c_fc",
    },
]


@pytest.mark.parametrize("names", KOHYA, ids=["SD 1", "SDXL"])
def test_a_low_rank_delta_becomes_a_kohya_file_and_comes_back(folder, names):
    """Names of Stable Diffusion's checkpoints; convolutions have their kernel in lora_down."""
    shapes = [(8, 4, 3, 3), (12, 6), (6, 10)]
    generator = torch.Generator().manual_seed(5)
    old = {name: torch.randn(shape, generator=generator) for name, shape in zip(names, shapes, strict=True)}
    new = {name: value + 0.1 * torch.randn(value.shape, generator=generator) for name, value in old.items()}
    torch.save(old, "old.pt")
    torch.save(new, "new.pt")
    delta.make(section("old.pt"), section("new.pt"), "x.delta", Options("low-rank", rank=2))
    assert delta.to_adapter(delta.open_delta("x.delta"), "lora.safetensors") == []
    tensors = load_file("lora.safetensors")
    assert len(tensors) == 9
    for name, module in names.items():
        down, up = tensors[f"{module}.lora_down.weight"], tensors[f"{module}.lora_up.weight"]
        assert down.shape == (2, *old[name].shape[1:])
        assert up.shape == (len(old[name]), 2, *(1 for _ in old[name].shape[2:]))
        scale = float(tensors[f"{module}.alpha"]) / len(down)
        whole = (up.flatten(1) @ down.flatten(1) * scale).reshape(old[name].shape)
        np.testing.assert_allclose(whole.numpy(), numbers()[name], atol=1e-6)
    delta.from_adapter("lora.safetensors", section("old.pt"), "back.delta")
    for name in names:
        np.testing.assert_array_equal(numbers("back.delta")[name], numbers()[name])
    assert sorted(path.name for path in Path().glob(".*")) == []


def test_the_vae_of_a_stable_diffusion_checkpoint_takes_no_part_in_kohya_files(folder):
    """Of all names only the network's own is conv_in's, though two of the VAE end with it too."""
    network, text = "model.diffusion_model.input_blocks.0.0.weight", "cond_stage_model.transformer.fc1.weight"
    vae = ["first_stage_model.decoder.conv_in.weight", "first_stage_model.encoder.conv_in.weight"]
    old = {name: torch.zeros(4, 3) for name in (network, text, *vae)}
    torch.save(old, "old.pt")
    torch.save({name: value + 1 for name, value in old.items()}, "new.pt")
    delta.make(section("old.pt"), section("new.pt"), "x.delta", Options("low-rank", rank=1))
    assert delta.to_adapter(delta.open_delta("x.delta"), "lora.safetensors") == vae
    modules = {name.partition(".")[0] for name in load_file("lora.safetensors")}
    assert modules == {"lora_unet_conv_in", "lora_te_fc1"}
    delta.from_adapter("lora.safetensors", section("old.pt"), "back.delta")
    assert numbers("back.delta").keys() == {network, text}


def diffusers_to_original() -> dict[str, str]:
    """Modules of Stable Diffusion 1's network by diffusers' names, as its conversion script pairs them."""
    resnet = {
        "conv1": "in_layers.2",
        "conv2": "out_layers.3",
        "time_emb_proj": "emb_layers.1",
        "conv_shortcut": "skip_connection",
    }
    inner = ("proj_in", "transformer_blocks.0.attn1.to_q", "transformer_blocks.0.ff.net.0.proj")
    blocks, attentions, pairs = {}, {}, {"conv_in": "input_blocks.0.0", "time_embedding.linear_2": "time_embed.2"}
    for i in range(4):
        for j in range(2):
            blocks[f"down_blocks.{i}.resnets.{j}."] = f"input_blocks.{3 * i + j + 1}.0."
            if i < 3:
                attentions[f"down_blocks.{i}.attentions.{j}."] = f"input_blocks.{3 * i + j + 1}.1."
        for j in range(3):
            blocks[f"up_blocks.{i}.resnets.{j}."] = f"output_blocks.{3 * i + j}.0."
            if i > 0:
                attentions[f"up_blocks.{i}.attentions.{j}."] = f"output_blocks.{3 * i + j}.1."
        if i < 3:
            pairs[f"down_blocks.{i}.downsamplers.0.conv"] = f"input_blocks.{3 * (i + 1)}.0.op"
            pairs[f"up_blocks.{i}.upsamplers.0.conv"] = f"output_blocks.{3 * i + 2}.{1 if i == 0 else 2}.conv"
    blocks |= {"mid_block.resnets.0.": "middle_block.0.", "mid_block.resnets.1.": "middle_block.2."}
    attentions["mid_block.attentions.0."] = "middle_block.1."
    pairs |= {new + part: old + own for new, old in blocks.items() for part, own in resnet.items()}
    return pairs | {new + part: old + part for new, old in attentions.items() for part in inner}


def test_kohya_files_of_stable_diffusion_1_have_diffusers_names(folder):
    pairs = diffusers_to_original()
    assert len(pairs) > 140
    base = {f"model.diffusion_model.{old}.weight": torch.zeros(3, 2) for old in pairs.values()}
    torch.save(base, "sd.pt")
    tensors, wanted = {}, {}
    for number, (new, old) in enumerate(pairs.items(), 1):
        module = "lora_unet_" + new.replace(".", "_")
        tensors |= {
            f"{module}.lora_down.weight": torch.full((1, 2), float(number)),
            f"{module}.lora_up.weight": torch.ones(3, 1),
            f"{module}.alpha": torch.tensor(1.0),
        }
        wanted[f"model.diffusion_model.{old}.weight"] = float(number)
    save_file(tensors, "lora.safetensors")
    delta.from_adapter("lora.safetensors", section("sd.pt"), "x.delta")
    assert {name: value[0, 0] for name, value in numbers().items()} == wanted
    delta.to_adapter(delta.open_delta("x.delta"), "again.safetensors")
    again = load_file("again.safetensors")
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[name], value) for name, value in tensors.items())
