"""Writes the inputs that fuzzing begins with, and honest files to stand beside them: python -m tests.fuzz.make_seeds

What it wrote is in the repository, so that fuzzing begins with the same bytes everywhere.
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import save, save_file

from tests.mergekit.test_imported import TIES
from tests.provenance.test_record import generations
from weightmath.checkpoint import open_checkpoint
from weightmath.delta import api as delta
from weightmath.delta.api import Options
from weightmath.provenance.record import encode

HERE = Path(__file__).parent
RECIPES = HERE.parents[1] / "recipes"
EXPRESSIONS = (
    "base + 0.5 * (a - b)", 'keep_largest(b - a, 0.2, scope="global") * alpha', "ties(a, [b, c], densities=0.3)",
    'where(match("*w") & (abs(a) > 1e-3), runs[-1], 2 ** -3 * a)', "mean(runs) / norm(a) + gaussian(seed=7)",
    'a * ramp(0, 1, along="re:layers\\.(\\d+)")', "cosine(a, b) < .9", "~largest_mask(a, 0.5) | (a == b)",
)  # fmt: skip


def state(shift: float = 0.0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(6, 4, generator=generator) + shift
    return {"layers.0.weight": weight, "layers.0.bias": torch.ones(6) * shift, "steps": torch.tensor(3)}


def saved(content: object, *, modern: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=modern)
    return buffer.getvalue()


def contents() -> list[object]:
    """What torch writes in different ways: nested, tied, parameters, views, new dtypes, a module's state."""
    shared = torch.arange(24.0)
    views = {"a": shared[2:8].reshape(2, 3).t(), "b": shared[2:8], "c": torch.nn.Parameter(shared)}
    others = {"w": torch.ones(96).to(torch.float8_e4m3fn), "v": torch.ones(3, dtype=torch.complex64)}
    return [
        OrderedDict(state()),
        {"state_dict": views, "n": [1.5, None]},
        {"model": others, "set": {1, "x"}},
        torch.nn.Linear(4, 6).state_dict(),
    ]


def pickle_of(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))


def index(names: Mapping[str, str]) -> bytes:
    return json.dumps({"metadata": {"total_size": 100}, "weight_map": names}).encode()


def deltas(folder: Path) -> dict[str, bytes]:
    """A delta of every kind."""
    save_file(state(), folder / "base.safetensors")
    save_file(state(0.01), folder / "tuned.safetensors")
    sides = [open_checkpoint(folder / f"{name}.safetensors").section() for name in ("base", "tuned")]
    kinds = {
        "exact": Options(), "sparse": Options("sparse", density=0.3), "int8": Options("int8"), "sign": Options("sign"),
        "low-rank": Options("low-rank", rank=2), "dense": Options("dense", dtype="bfloat16"),
    }  # fmt: skip
    for name, options in kinds.items():
        delta.make(*sides, folder / f"{name}.delta", options)
    delta.make(*sides, folder / "weights.delta", keep="weights")
    delta.to_adapter(delta.open_delta(folder / "low-rank.delta"), folder / "adapter")
    return {name: (folder / f"{name}.delta").read_bytes() for name in sorted((*kinds, "weights"))}


def seeds(folder: Path) -> dict[str, list[bytes]]:
    """The inputs by target; `folder` is for what is made on the way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is only one process
        dcp.save({"model": state(), "n": 1}, checkpoint_id=folder / "dcp")
    modern = [saved(content) for content in contents()]
    tensors = save(state(), {"format": "pt"})
    made = deltas(folder)
    texts = [open_checkpoint(folder / f"{name}.delta").texts or {} for name in made]
    lines = [line.replace("base", "c") for line in EXPRESSIONS]
    return {
        "zip": modern,
        "pickle": [pickle_of(data) for data in modern],
        "legacy": [saved(content, modern=False) for content in contents()[:2]],
        "safetensors": [tensors, save({"w": torch.ones(2, 3).bfloat16()})],
        "header": [tensors[8 : 8 + int.from_bytes(tensors[:8], "little")]],
        "index": [index({"w": "a.safetensors", "v": "b.safetensors"}), index({"w": "a.safetensors"})],
        "distributed": [(folder / "dcp/.metadata").read_bytes()],
        "delta": list(made.values()),
        "description": [bytes([number]) + text["weightmath.delta"].encode() for number, text in enumerate(texts)],
        "adapter": [(folder / "adapter/adapter_config.json").read_bytes()],
        "provenance": [encode(generations(count)) for count in (1, 3)],
        "recipe": [path.read_bytes() for path in sorted(RECIPES.glob("*.yaml"))],
        "mergekit": [TIES.encode()],
        "expression": [line.encode() for line in lines],
    }


def parts(folder: Path) -> dict[str, bytes]:
    """The honest files, by name; after `seeds`."""
    made = {
        "__0_0.distcp": "dcp/__0_0.distcp",
        "base.safetensors": "base.safetensors",
        "adapter_model.safetensors": "adapter/adapter_model.safetensors",
    }
    made |= {path.name: path.name for path in folder.glob("*.delta")}
    shards = {"a.safetensors": save({"w": torch.ones(2, 3)}), "b.safetensors": save({"v": torch.ones(4)})}
    return {**{name: (folder / place).read_bytes() for name, place in made.items()}, **shards}


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def main() -> None:
    """Write them all anew."""
    with tempfile.TemporaryDirectory() as folder:
        for target, found in seeds(Path(folder)).items():
            write(HERE / "seeds" / target, {str(number): content for number, content in enumerate(found)})
        write(HERE / "parts", parts(Path(folder)))


if __name__ == "__main__":
    main()
