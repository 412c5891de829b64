"""Any mixture of containers in one recipe, from end to end, against plain torch arithmetic."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import weightmath as wm
from tests.checkpoint.test_sharded import split
from tests.merging import Bench, close
from weightmath import flatten, repackage
from weightmath import open as wm_open
from weightmath import save as wm_save
from weightmath.recipe import loads, with_overrides
from weightmath.verify.verification import verify

SHAPES = {
    "embed.weight": (7, 4),
    "layers.0.weight": (4, 4),
    "layers.0.bias": (4,),
    "layers.1.weight": (5, 4),
    "scale": (),
}


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def model(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    floats = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    return {**floats, "steps": torch.tensor(100)}


def distributed(state: dict[str, torch.Tensor], folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is only one process
        dcp.save({"model": state, "epoch": 3}, checkpoint_id=folder)


def hub(state: dict[str, torch.Tensor], folder: Path) -> None:
    split(state, folder / "models--org--tiny" / "snapshots" / "abc")


WRITERS: dict[str, tuple[str, Callable[[dict[str, torch.Tensor], Path], Any]]] = {
    "zip": ("zip.ckpt", lambda state, path: torch.save({"state_dict": state, "epoch": 3}, path)),
    "legacy": ("legacy.pth", lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False)),
    "safe": ("safe.safetensors", lambda state, path: save_file(state, path, {"format": "pt", "who": "me"})),
    "shards": ("shards", split),
    "bins": ("bins", lambda state, path: split(state, path, "bin", "pytorch_model")),
    "ranks": ("ranks", distributed),
}
OUTPUTS = ("out.ckpt", "out.bin", "out.safetensors", "out/")


def write_all(bench: Bench) -> dict[str, dict[str, torch.Tensor]]:
    """A model in each container."""
    states = {name: model(seed) for seed, name in enumerate(WRITERS)}
    for name, (path, write) in WRITERS.items():
        write(states[name], bench.folder / path)
    return states


def written(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of an output, as torch, safetensors or transformers load them."""
    if path.is_dir():
        return load_file(path / "model.safetensors")
    if path.suffix == ".safetensors":
        return load_file(path)
    content = torch.load(path, weights_only=True, mmap=True)
    return content.get("state_dict", content)


def ordered(state: dict[str, torch.Tensor], like: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: state[name] for name in like}


@pytest.mark.parametrize("template", WRITERS)
def test_every_container_is_a_template_for_every_container(template, bench):
    states = write_all(bench)
    average = {name: sum(state[name] for state in states.values()) / len(states) for name in SHAPES}
    expected = {**average, "steps": torch.tensor(100)}
    inputs = "\n".join(f"  {name}: {path}" for name, (path, _) in WRITERS.items())
    saves = "\n".join(f"  {name}: {{value: average, template: {template}}}" for name in OUTPUTS)
    report = bench.run(f"inputs:\n{inputs}\nlet:\n  average: mean([{', '.join(WRITERS)}])\nsave:\n{saves}\n")
    for name in OUTPUTS:
        found = written(bench.folder / name)
        close(ordered(found, expected), expected)
        assert found.keys() == expected.keys()
    # Only a zip, and a legacy file that becomes one, keep everything else; the plan says what others leave behind.
    kept = {name for name in OUTPUTS if not any(f"save.{name}" in warning for warning in report.warnings)}
    assert kept == {"zip": {"out.ckpt", "out.bin"}, "ranks": set()}.get(template, set(OUTPUTS))
    if template == "zip":
        assert bench.load(section=None)["epoch"] == 3


def test_what_stays_behind_is_told(bench):
    torch.save(
        {"state_dict": model(0), "epoch": 1, "optim": {}, "loops": 2, "hparams": {"lr": 0.1}}, bench.folder / "a.ckpt"
    )
    text = "inputs: {a: a.ckpt}\nsave:\n  b.safetensors: {value: a, WISHES}\n"
    (warning,) = bench.plan(text.replace("WISHES", "")).warnings
    assert warning == (
        "merge.yaml:3: save.b.safetensors: the output holds the tensors of the section only, without `epoch`, `optim`, "
        "`loops` and 1 more of a.ckpt; say so with keep: weights, or keep the container"
    )
    assert bench.plan(text.replace("WISHES", "keep: weights")).warnings == ()
    (warning,) = bench.plan(text.replace("WISHES", "drop: [epoch, optim*, hparams]")).warnings
    assert "only, without `loops` of a.ckpt;" in warning


def test_a_folder_in_shards(bench):
    base, tuned = model(0), model(1)
    split(base, bench.folder / "base")
    (bench.folder / "base" / "config.json").write_text('{"torch_dtype": "float32", "layers": 2}')
    (bench.folder / "base" / "tokenizer.json").write_text("{}")
    save_file(tuned, bench.folder / "tuned.safetensors")
    bench.run(
        "inputs: {base: base, tuned: tuned.safetensors}\n"
        "save:\n  merged/: {value: 0.75 * base + 0.25 * tuned, dtype: bf16, shard: 60B}\n"
    )
    merged = bench.folder / "merged"
    index = json.loads((merged / "model.safetensors.index.json").read_text())["weight_map"]
    assert len(set(index.values())) > 1
    found = {}
    for name, file in index.items():
        with safe_open(merged / file, "pt") as shard:
            found[name] = shard.get_tensor(name)
    expected = {name: torch.lerp(base[name], tuned[name], 0.25).bfloat16() for name in SHAPES}
    close(ordered(found, expected), expected)
    assert json.loads((merged / "config.json").read_text()) == {"torch_dtype": "bfloat16", "layers": 2}
    assert (merged / "tokenizer.json").read_text() == "{}"
    # And it is an input again, by itself and to another recipe.
    bench.run("inputs: {m: merged, base: base}\nsave: {again.safetensors: 2 * m - base}")
    assert load_file(bench.folder / "again.safetensors").keys() == base.keys()


def test_folders_are_replaced_as_files_are(bench):
    split(model(0), bench.folder / "base")
    text = "inputs: {base: base}\nsave: {out/: 1 * base}"
    bench.run(text)
    assert "out: exists" in bench.mistake(text)
    bench.run(text, force=True)
    assert "is an input" in bench.mistake("inputs: {base: base}\nsave: {base/: 1 * base}")


def test_a_model_of_the_hub(bench, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(bench.folder / "hub"))
    hub(model(0), bench.folder / "hub")
    refs = bench.folder / "hub" / "models--org--tiny" / "refs"
    refs.mkdir()
    (refs / "main").write_text("abc")
    save_file(model(1), bench.folder / "b.safetensors")
    bench.run('inputs: {a: "hf:org/tiny", b: b.safetensors}\nsave: {out.safetensors: 0.5 * a + 0.5 * b}')
    assert load_file(bench.folder / "out.safetensors").keys() == model(0).keys()
    elsewhere = with_overrides(loads("inputs: {b: b.ckpt}\nsave: {x.ckpt: b}\n"), inputs=["b=hf:org/tiny"])
    assert elsewhere.spec.inputs["b"].path == "hf:org/tiny"
    wm.soup(["hf:org/tiny", bench.folder / "b.safetensors"], bench.folder / "soup.safetensors")
    assert wm.diff(bench.folder / "out.safetensors", bench.folder / "soup.safetensors").equal
    wm_save(wm_open("hf:org/tiny"), bench.folder / "same.safetensors")
    assert verify(bench.folder / "same.safetensors").differences == ()
    assert bench.mistake('inputs: {a: "hf:org/tinny"}\nsave: {x.ckpt: a}') == (
        f"merge.yaml:1: inputs.a: hf:org/tinny: is not in the cache ({bench.folder / 'hub'})\n"
        "  hint: did you mean `hf:org/tiny`?"
    ).replace(f"{bench.folder}/", "")


def test_shards_are_for_folders(bench):
    bench.save(a=model(0))
    assert bench.mistake("inputs: {a: a.ckpt}\nsave:\n  b.ckpt: {value: a, shard: 5GB}") == (
        "merge.yaml:3: save.b.ckpt: `shard:` cuts folders into files, and this output is one file\n"
        "  hint: write `b.ckpt/`"
    )


def test_from_python(tmp_path):
    a, b = model(0), model(1)
    save_file(a, tmp_path / "a.safetensors")
    torch.save(b, tmp_path / "b.pth", _use_new_zipfile_serialization=False)
    first, second = wm_open(tmp_path / "a.safetensors"), wm_open(tmp_path / "b.pth")
    wm_save(first + 0.5 * (second - first), f"{tmp_path}/out/", template=first)
    expected = {name: torch.lerp(a[name], b[name], 0.5) for name in SHAPES}
    close(ordered(load_file(tmp_path / "out" / "model.safetensors"), expected), expected)
    vector, layout = flatten(tmp_path / "out")
    repackage(vector, layout, tmp_path / "again.safetensors")
    repackage(vector, layout, tmp_path / "again.ckpt")
    close(ordered(load_file(tmp_path / "again.safetensors"), expected), expected)
    close(ordered(torch.load(tmp_path / "again.ckpt"), expected), expected)
