"""Hugging Face folders as outputs: shards, index, configuration, tokenizer; all of it or nothing."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.checkpoint.rewrite import rewrite
from tests.checkpoint.states import every_dtype, same_bits
from tests.checkpoint.test_sharded import split, values
from weightmath.checkpoint import Writer, open_checkpoint, plan_image
from weightmath.dtypes import DTYPES
from weightmath.errors import OutputError

CONFIG = {
    "architectures": ["Tiny"], "torch_dtype": "float32", "hidden_size": 4, "é": 1,
    "text_config": {"dtype": "float32", "layers": 2}, "quantization_config": {"bits": 8}, "dtype_of_disk": "float32",
}  # fmt: skip
COMPANIONS = {
    "generation_config.json": "{}", "tokenizer.json": '{"a": 1}', "tokenizer_config.json": "{}", "merges.txt": "a b",
    "chat_template.jinja": "{{ x }}", "additional_chat_templates/tools.jinja": "{{ y }}", "modeling_tiny.py": "x = 1",
    "LICENSE": "MIT", "tokenizer.model": "\0\1",
}  # fmt: skip
OTHERS = ("README.md", "trainer_state.json", "training_args.bin", "optimizer.pt", "notes.txt", "runs/events")


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A sharded model with all that lies beside one."""
    folder = tmp_path / "base"
    split(every_dtype(), folder)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    for name, text in {**COMPANIONS, **dict.fromkeys(OTHERS, "other")}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def loaded(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors, as transformers gathers them: by the index."""
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return load_file(folder / "model.safetensors")
    found = {}
    for name, file in json.loads(index.read_text())["weight_map"].items():
        with safe_open(folder / file, "pt") as shard:
            found[name] = shard.get_tensor(name)
            assert shard.metadata()["format"] == "pt"
    return found


def test_one_file(template: Path, tmp_path: Path) -> None:
    rewrite(template, tmp_path / "out", form="folder")
    assert same_bits(loaded(tmp_path / "out"), every_dtype())
    assert tree(tmp_path / "out").keys() == {"model.safetensors", "config.json", *COMPANIONS}
    for name in ("config.json", *COMPANIONS):
        assert (tmp_path / "out" / name).read_bytes() == (template / name).read_bytes()
    assert same_bits(values(tmp_path / "out"), every_dtype())


def test_shards(template: Path, tmp_path: Path) -> None:
    image = rewrite(template, tmp_path / "out", form="folder", shard=150, threads=3)
    assert same_bits(loaded(tmp_path / "out"), every_dtype())
    shards = sorted(name for name in tree(tmp_path / "out") if name.endswith(".safetensors"))
    count = len(shards)
    assert count > 2
    assert shards == [f"model-{i + 1:05d}-of-{count:05d}.safetensors" for i in range(count)]
    for name in shards:
        with safe_open(tmp_path / "out" / name, "pt") as shard:
            sizes = [shard.get_tensor(key).nbytes for key in shard.keys()]  # noqa: SIM118
        assert sum(sizes) <= 150 or len(sizes) == 1
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_size": sum(value.nbytes for value in every_dtype().values())}
    assert image.size == sum(map(len, tree(tmp_path / "out").values()))


def test_another_dtype_is_in_the_configuration_too(template: Path, tmp_path: Path) -> None:
    names = open_checkpoint(template).section().layout.names
    rewrite(template, tmp_path / "out", form="folder", dtypes=dict.fromkeys(names, DTYPES["bfloat16"]))
    expected = {**CONFIG, "torch_dtype": "bfloat16", "text_config": {"dtype": "bfloat16", "layers": 2}}
    text = (tmp_path / "out" / "config.json").read_text()
    assert text == json.dumps(expected, indent=2, ensure_ascii=False) + "\n"
    assert {value.dtype for name, value in loaded(tmp_path / "out").items() if name in names} == {torch.bfloat16}


def test_from_one_file_and_from_a_zip(tmp_path: Path) -> None:
    """A lone file brings what lies beside it, if that is a model; a zip among other things brings nothing."""
    (tmp_path / "hf").mkdir()
    save_file(every_dtype(), tmp_path / "hf" / "model.safetensors", {"format": "pt"})
    (tmp_path / "hf" / "config.json").write_text("not JSON")
    torch.save({"state_dict": every_dtype(), "epoch": 1}, tmp_path / "x.ckpt")
    (tmp_path / "tokenizer.json").write_text("of another model")
    names = open_checkpoint(tmp_path / "x.ckpt").section().layout.names
    half = dict.fromkeys(names, DTYPES["float16"])
    rewrite(tmp_path / "hf" / "model.safetensors", tmp_path / "a", form="folder", dtypes=half)
    rewrite(tmp_path / "x.ckpt", tmp_path / "b", form="folder", dtypes=half)
    assert tree(tmp_path / "a").keys() == {"model.safetensors", "config.json"}
    assert (tmp_path / "a" / "config.json").read_text() == "not JSON"
    assert tree(tmp_path / "b").keys() == {"model.safetensors"}
    assert same_bits(loaded(tmp_path / "a"), loaded(tmp_path / "b"))


def test_the_format_is_named_for_transformers(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "x.safetensors")
    rewrite(tmp_path / "x.safetensors", tmp_path / "out", form="folder")
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_tied_tensors_and_further_records(tmp_path: Path) -> None:
    embed = torch.rand(5, 3)
    state = {"embed": embed, "more": torch.rand(4), "head": embed}
    torch.save(state, tmp_path / "x.pt")
    rewrite(tmp_path / "x.pt", tmp_path / "out", form="folder", shard=30, extra={"who": b"me"})
    assert loaded(tmp_path / "out").keys() == {"embed", "more"}
    assert same_bits(values(tmp_path / "out"), state)
    checkpoint = open_checkpoint(tmp_path / "out")
    assert checkpoint.texts == {"converted_from": "torch zip x.pt", "format": "pt", "who": "me", "head": "embed"}
    assert len({info.storage for info in checkpoint.section().tensors.values()}) == 2
    rewrite(tmp_path / "out", tmp_path / "again", form="folder", shard=30)
    assert same_bits(values(tmp_path / "again"), state)


# --- all or nothing


def fill(writer: Writer) -> None:
    for copy in writer.copies:
        writer.copy(copy)
    for name, target in writer.image.targets.items():
        writer.write(name, 0, np.zeros(target.entry.size, target.entry.dtype.bits))


def image_of(template: Path, **wishes: Any) -> Any:
    section = open_checkpoint(template).section()
    return plan_image(section, section.layout.names, form="folder", **wishes)


def test_it_appears_when_it_is_published(template: Path, tmp_path: Path) -> None:
    with Writer(image_of(template), tmp_path / "out") as writer:
        fill(writer)
        assert not (tmp_path / "out").exists()
        writer.commit()
        assert not (tmp_path / "out").exists()
        writer.publish()
    assert sorted(os.listdir(tmp_path)) == ["base", "out"]


def test_nothing_stays_after_a_failure(template: Path, tmp_path: Path) -> None:

    def fail() -> None:
        with Writer(image_of(template), tmp_path / "out") as writer:
            fill(writer)
            (template / "tokenizer.json").unlink()
            writer.commit()

    with pytest.raises(OutputError, match="cannot be written: No such file"):
        fail()
    assert os.listdir(tmp_path) == ["base"]


def test_targets(template: Path, tmp_path: Path) -> None:
    image = image_of(template)
    (tmp_path / "file").write_text("precious")
    (tmp_path / "empty").mkdir()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.json").write_text("{}")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    for name, force, message in (
        ("file", True, "is a file, and the output a folder"), ("old", False, "exists"),
        ("mine", True, "holds more than a model"), ("base", True, "is the template"), (".", True, "is the template"),
    ):  # fmt: skip
        with pytest.raises(OutputError, match=message):
            Writer(image, tmp_path / name, force=force)
    for name, force in (("empty", False), ("old", True)):
        with Writer(image, tmp_path / name, force=force) as writer:
            fill(writer)
            writer.commit()
            writer.publish()
        assert tree(tmp_path / name).keys() == {"model.safetensors", "config.json", *COMPANIONS}
    assert sorted(os.listdir(tmp_path)) == ["base", "empty", "file", "mine", "old"]
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "precious"


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"])
def test_a_part_of_a_pipeline_is_called_as_diffusers_looks_for_it(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "unet"
    folder.mkdir()
    state = {f"down_blocks.{n}.weight": torch.rand(4, 4) for n in range(2)}
    save_file(state, folder / name)
    (folder / "config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
    rewrite(folder, tmp_path / "one", form="folder")
    assert tree(tmp_path / "one").keys() == {"diffusion_pytorch_model.safetensors", "config.json"}
    assert same_bits(load_file(tmp_path / "one" / "diffusion_pytorch_model.safetensors"), state)
    rewrite(folder, tmp_path / "two", form="folder", shard=64)
    shards = [f"diffusion_pytorch_model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    assert tree(tmp_path / "two").keys() == {"diffusion_pytorch_model.safetensors.index.json", "config.json", *shards}
    index = json.loads((tmp_path / "two" / "diffusion_pytorch_model.safetensors.index.json").read_text())
    assert sorted(index["weight_map"].values()) == shards
    assert open_checkpoint(tmp_path / "two").section("").tensors.keys() == state.keys()


def test_an_adapter_keeps_its_name_and_configuration(tmp_path: Path) -> None:
    folder, out = tmp_path / "adapter", tmp_path / "out"
    folder.mkdir()
    state = {f"base_model.model.q.lora_{part}.weight": torch.rand(2, 2) for part in "AB"}
    save_file(state, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2}')
    (folder / "tokenizer.json").write_text("{}")
    rewrite(folder, out, form="folder", shard=1)
    assert tree(out).keys() == {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json"}
    assert tree(out)["adapter_config.json"] == tree(folder)["adapter_config.json"]
    assert same_bits(load_file(out / "adapter_model.safetensors"), state)
    (folder / "adapter_config.json").unlink()
    rewrite(folder, tmp_path / "plain", form="folder")
    assert tree(tmp_path / "plain").keys() == {"model.safetensors"}
