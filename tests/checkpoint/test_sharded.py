"""Models in several files, folders that hold one, and the Hub's cache."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.checkpoint.rewrite import rewrite, stored
from tests.checkpoint.states import every_dtype, same_bits
from weightmath.checkpoint import open_checkpoint
from weightmath.checkpoint.hub import called
from weightmath.errors import CheckpointError


def split(state: dict[str, torch.Tensor], folder: Path, ending: str = "safetensors", stem: str = "model") -> Path:
    """A sharded model, as Hugging Face writes it: three files and their index."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(state)
    files = {f"{stem}-{i + 1:05d}-of-00003.{ending}": names[i::3] for i in range(3)}
    for file, inside in files.items():
        part = {name: state[name] for name in inside}
        save_file(part, folder / file, {"format": "pt"}) if ending == "safetensors" else torch.save(part, folder / file)
    weight_map = {name: file for file, inside in files.items() for name in inside}
    index = folder / f"{stem}.{ending}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return index


def values(path: Path | str) -> dict[str, torch.Tensor]:
    """Every tensor of the section, as we read it."""
    checkpoint = open_checkpoint(path)
    with checkpoint.open() as reader:
        tensors = checkpoint.section().tensors.items()
        return {name: stored(reader, info).reshape(info.entry.shape) for name, info in tensors}


@pytest.mark.parametrize(
    ("ending", "stem", "container"),
    [("safetensors", "model", "sharded safetensors"), ("bin", "pytorch_model", "sharded torch zip")],
)
def test_shards_are_one_checkpoint(ending: str, stem: str, container: str, tmp_path: Path) -> None:
    state = every_dtype()
    index = split(state, tmp_path / "m", ending, stem)
    for path in (index, tmp_path / "m"):
        checkpoint = open_checkpoint(path)
        assert (checkpoint.path, checkpoint.container, len(checkpoint.files)) == (path, container, 3)
        assert same_bits(values(path), state)
    assert open_checkpoint(index).size == sum(file.stat().st_size for file in (tmp_path / "m").glob("*-*"))
    rewrite(index, tmp_path / "one.pt")
    assert same_bits(torch.load(tmp_path / "one.pt", weights_only=True), state)


def change(index: Path, key: str | None, value: str) -> None:
    content = json.loads(index.read_text())
    if key is None:
        content["weight_map"].pop(value)
    else:
        content["weight_map"][key] = value
    index.write_text(json.dumps(content))


def forget(index: Path, file: str) -> None:
    content = json.loads(index.read_text())
    content["weight_map"] = {name: holder for name, holder in content["weight_map"].items() if holder != file}
    index.write_text(json.dumps(content))


BROKEN: dict[str, tuple[Any, str]] = {
    "a missing file": (lambda index: (index.parent / "model-00002-of-00003.safetensors").unlink(), "is missing"),
    "another file": (lambda index: change(index, "number", "model-00001-of-00003.safetensors"), "not in `model-00001"),
    "a missing tensor": (lambda index: change(index, "more", "model-00001-of-00003.safetensors"), "`more` is not in"),
    "an unnamed tensor": (lambda index: change(index, None, "number"), "holds `number`, which the index does not name"),
    "an unnamed file": (
        lambda index: forget(index, "model-00002-of-00003.safetensors"), "`model-00002-\\S+ lies beside its files",
    ),
    "another folder": (lambda index: change(index, "number", "../x"), "names `../x`, which is no file beside it"),
    "an absolute path": (lambda index: change(index, "number", "/etc/passwd"), "no file beside it"),
    "no text": (lambda index: change(index, "number", 3), "does not go from tensors to files"),  # type: ignore[arg-type]
    "empty": (lambda index: index.write_text('{"weight_map": {}}'), "does not go from tensors to files"),
    "twice": (lambda index: index.write_text('{"weight_map": {"w": "a", "w": "b"}}'), "says `w` twice"),
    "no JSON": (lambda index: index.write_text("{"), "is not valid JSON"),
    "deep JSON": (lambda index: index.write_text('{"a":' + "[" * 100_000), "is not valid JSON"),
    "other JSON": (lambda index: index.write_text('{"hidden_size": 3}'), "is a JSON file, not a checkpoint"),
    "a broken file": (
        lambda index: (index.parent / "model-00002-of-00003.safetensors").write_bytes(b"GGUF"), "a GGUF file",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("breaks", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_an_index_that_does_not_fit_is_refused(breaks: Any, message: str, tmp_path: Path) -> None:
    index = split(every_dtype(), tmp_path / "m")
    breaks(index)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(index)
    assert str(caught.value.where).startswith(str(index))


def test_a_shard_that_changes_is_noticed(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(split(every_dtype(), tmp_path / "m"))
    save_file({"w": torch.ones(2)}, tmp_path / "m" / "model-00002-of-00003.safetensors")
    with pytest.raises(CheckpointError, match="changed while it was read"):
        checkpoint.open()


# --- folders


def test_a_folder_with_one_model(tmp_path: Path) -> None:
    """Safetensors come before pickles; what trainers leave beside the weights does not count."""
    state = {"w": torch.ones(2)}
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state_0.pth"):
        torch.save({"other": torch.zeros(1)}, tmp_path / name)
    (tmp_path / "config.json").write_text("{}")
    torch.save(state, tmp_path / "pytorch_model.bin")
    assert open_checkpoint(tmp_path).files == (tmp_path / "pytorch_model.bin",)
    save_file(state, tmp_path / "model.safetensors")
    assert open_checkpoint(tmp_path).files == (tmp_path / "model.safetensors",)
    split(every_dtype(), tmp_path)
    assert len(open_checkpoint(tmp_path).files) == 3


def test_folders_without_a_single_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is a folder without a model in it"):
        open_checkpoint(tmp_path)
    for name in ("vae", "unet"):
        (tmp_path / name).mkdir()
        save_file({"w": torch.ones(2)}, tmp_path / name / "diffusion_pytorch_model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(tmp_path)
    assert caught.value.hint == "its folders do: unet, vae"
    assert open_checkpoint(tmp_path / "vae").section().layout.names == ("w",)
    for name in ("a.ckpt", "b.pt"):
        torch.save({"w": torch.ones(2)}, tmp_path / name)
    with pytest.raises(CheckpointError, match=r"holds several models: a\.ckpt, b\.pt") as caught:
        open_checkpoint(tmp_path)
    assert caught.value.hint == f"name one: {tmp_path / 'a.ckpt'}"


@pytest.mark.parametrize("kept", [1, 3], ids=["one shard", "all shards"])
def test_shards_without_their_index_are_no_model(tmp_path: Path, kept: int) -> None:
    for number in range(1, kept + 1):
        save_file({f"w{number}": torch.ones(2)}, tmp_path / f"model-{number:05d}-of-00003.safetensors")
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(tmp_path)
    assert caught.value.what == "holds shards of a model (`model-00001-of-00003.safetensors`) and no index of them"
    assert caught.value.hint == "download model.safetensors.index.json too"
    assert open_checkpoint(tmp_path / "model-00001-of-00003.safetensors").section().layout.names == ("w1",)


def test_a_shard_that_is_the_only_one_is_a_model(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "model-00001-of-00001.safetensors")
    assert open_checkpoint(tmp_path).section().layout.names == ("w",)


# --- the Hub's cache


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with two revisions of one model, its files links to blobs, as the Hub's client leaves it."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    model = tmp_path / "hub" / "models--org--tiny"
    for number, commit in enumerate(("1f" * 20, "2f" * 20)):
        split({"w": torch.full((3,), float(number)), "v": torch.ones(1), "u": torch.ones(2)}, model / "blobs" / commit)
        snapshot = model / "snapshots" / commit
        snapshot.mkdir(parents=True)
        for blob in (model / "blobs" / commit).iterdir():
            (snapshot / blob.name).symlink_to(os.path.relpath(blob, snapshot))
    (model / "refs" / "pr").mkdir(parents=True)
    (model / "refs" / "main").write_text("1f" * 20)
    (model / "refs" / "pr" / "v2").write_text("2f" * 20)
    return model


def test_models_of_the_hub(hub: Path) -> None:
    assert values("hf:org/tiny")["w"].tolist() == [0, 0, 0]
    assert values("hf:org/tiny@2f2f")["w"].tolist() == [1, 1, 1]
    assert values("hf:org/tiny/model.safetensors.index.json")["w"].tolist() == [0, 0, 0]
    (hub / "refs" / "v2").write_text("2f" * 20)
    assert values("hf:org/tiny@v2")["w"].tolist() == [1, 1, 1]
    shutil.copytree(hub, hub.parent / "models--gpt2", symlinks=True)
    assert values("hf:gpt2").keys() == {"u", "v", "w"}


def test_links_that_lead_nowhere_are_told(hub: Path) -> None:
    """Blobs of the cache that were removed, or not fetched."""
    snapshot = hub / "snapshots" / ("1f" * 20)
    lost = snapshot / "model-00002-of-00003.safetensors"
    target = str(lost.readlink())
    lost.resolve().unlink()
    with pytest.raises(CheckpointError, match=f"its file `{lost.name}` is missing\n  hint: download all files"):
        values("hf:org/tiny")
    with pytest.raises(CheckpointError, match=f"is a link to `{re.escape(target)}`, which is not there"):
        values(str(lost))
    for path in snapshot.glob("*"):
        if path.exists():
            path.unlink()
    with pytest.raises(CheckpointError, match=f"holds `{lost.name}` as a link to `{re.escape(target)}`, which is not"):
        values("hf:org/tiny")


def test_what_lies_in_the_cache_is_called_as_on_the_hub(hub: Path) -> None:
    for path in ("hf:org/tiny@2f2f", "hf:org/tiny@2f2f/model.safetensors.index.json"):
        name = called(open_checkpoint(path).path)
        assert name == path.replace("2f2f", "2f" * 6)
        assert open_checkpoint(name).path == open_checkpoint(path).path
    assert called(Path("x/models--org--tiny/snapshots")) == "snapshots"
    assert called(hub / "blobs" / "ab.ckpt") == "ab.ckpt"


MISTAKES = {
    "hf:org/tinny": ("is not in the cache", "did you mean `hf:org/tiny`?"),
    "hf:some/other": ("is not in the cache", "download it first: hf download some/other"),
    "hf:org/tiny@v9": ("has no revision `v9` in the cache", f"the cache has: main pr/v2 {'1f' * 20} {'2f' * 20}"),
    "hf:org/tiny/unet": (
        "has no `unet` in the cache",
        "it has: model-00001-of-00003.safetensors model-00002-of-00003.safetensors model-00003-of-00003.safetensors "
        "model.safetensors.index.json",
    ),
    "hf:../etc": ("is no name of a model", "hf:org/name, hf:org/name@revision"),
    "hf:org/tiny/../../x": ("is no name of a model", "hf:org/name, hf:org/name@revision"),
    "hf:": ("is no name of a model", "hf:org/name, hf:org/name@revision"),
}


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(("path", "expected"), MISTAKES.items())
def test_mistakes(path: str, expected: tuple[str, str]) -> None:
    with pytest.raises(CheckpointError, match=expected[0]) as caught:
        open_checkpoint(path)
    assert (caught.value.where, caught.value.hint) == (path, expected[1])


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from weightmath.checkpoint.hub import cache

    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache() == Path.home() / ".cache" / "huggingface" / "hub"
    for name, place, expected in (
        ("XDG_CACHE_HOME", "/x", "/x/huggingface/hub"), ("HF_HOME", "/h", "/h/hub"),
        ("HUGGINGFACE_HUB_CACHE", "/old", "/old"), ("HF_HUB_CACHE", "/c", "/c"),
    ):  # fmt: skip
        monkeypatch.setenv(name, place)
        assert cache() == Path(expected)
