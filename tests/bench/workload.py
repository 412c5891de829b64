"""The benchmark's models: seeded checkpoints of any size, made in a process of their own and in bounded memory.

Model 0 is a base of normal values; each further one is the base plus a tenth of its size in noise, as a fine-tune is.
The values of a model are one stream, so that a tensor's values depend on its place, and on the seed of its model.

torch is not imported by who asks for models: `Models.make` starts `python -m tests.bench.workload`. The benchmark's own
process stays small, because a child's peak memory counts what its parent held when it was started.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).parents[2]
ITEMSIZE = {"float16": 2, "bfloat16": 2, "float32": 4}
_FORMS = {"ckpt": ".ckpt", "safetensors": ".safetensors", "sharded": ""}
_SHARDS = 4
_SMALL = 300  # elements of a small tensor
_MANY = 100_000  # small tensors at most, whatever the size
_BLOCKS = 127  # of 9 tensors: 1,143, as Stable Diffusion 1.5 has
_WIDTHS = (1, 2, 4)
_ROUND = 1 << 20  # elements that are made at a time


@dataclass(frozen=True)
class Kind:
    """What models of a set are like: blocks of a network; or `shape="small"`: up to 100,000 vectors of 300 elements.

    form   a .ckpt, a .safetensors, or a folder of four safetensors shards with their index
    size   in sizes of the scale
    """

    dtype: str = "float16"
    shape: Literal["network", "small"] = "network"
    form: Literal["ckpt", "safetensors", "sharded"] = "ckpt"
    size: float = 1.0

    @property
    def name(self) -> str:
        """Names the files."""
        return f"{self.shape}-{self.dtype}-{self.form}-{self.size:g}"

    def output(self, number: int) -> str:
        """What a recipe calls an output in the form of the models."""
        return f"out{number}{_FORMS[self.form] or '/'}"


@dataclass(frozen=True)
class Models:
    """Checkpoints m0, m1, ... of one kind, of about `nbytes` each, in a folder."""

    kind: Kind
    nbytes: int
    folder: Path

    def path(self, number: int, form: str | None = None) -> Path:
        """Where model `number` lies, in the form of the kind or another one that was made."""
        return self.folder / f"{self.kind.name}-m{number}{_FORMS[form or self.kind.form]}"

    def make(self, count: int, *, forms: Sequence[str] = ()) -> None:
        """Write models 0 to count - 1: each as .ckpt, in the form of the kind, and in further ones."""
        words = [self.kind.dtype, self.kind.shape, str(self.nbytes), str(count), str(self.path(0, "ckpt"))]
        command = [sys.executable, "-m", "tests.bench.workload", *words, "--forms", self.kind.form, *forms]
        subprocess.run(command, cwd=ROOT, check=True)

    def remove(self) -> None:
        """Delete them."""
        for path in self.folder.glob(f"{self.kind.name}-m*"):
            remove(path)

    def bytes(self) -> int:
        """The size of a checkpoint that has been made; it is the same in all forms but for their headers."""
        return self.path(0, "ckpt").stat().st_size


def files(path: Path) -> list[Path]:
    """A file, or those of a folder."""
    return sorted(path.iterdir()) if path.is_dir() else [path]


def remove(path: Path) -> None:
    """Delete a file, or a folder with its files; or nothing."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def shapes(shape: str, elements: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a model of about so many elements."""
    if shape == "small":
        for i in range(min(elements // _SMALL, _MANY)):
            yield f"model.experts.{i}.bias", (_SMALL,)
        return
    weights = sum(_WIDTHS[i % len(_WIDTHS)] ** 2 for i in range(_BLOCKS)) * 17
    unit = max(1, round((elements / weights) ** 0.5))
    for i in range(_BLOCKS):
        yield from _block(f"model.blocks.{i}", unit * _WIDTHS[i % len(_WIDTHS)])


def _block(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Nine tensors, 17 width^2 elements and some."""
    for part, out in (("attn.qkv", 3 * width), ("attn.proj", width), ("mlp", 4 * width)):
        yield f"{name}.{part}.weight", (out, width)
        yield f"{name}.{part}.bias", (out,)
    yield f"{name}.conv.weight", (width, width, 3, 3)
    yield f"{name}.norm.weight", (width,)
    yield f"{name}.norm.bias", (width,)


def hollow(path: Path, elements: int) -> None:
    """A safetensors file of a model of about so many values in half precision, which are a hole: it takes no space."""
    entries, start = {}, 0
    for name, shape in shapes("network", elements):
        stop = start + 2 * math.prod(shape)
        entries[name] = {"dtype": "F16", "shape": shape, "data_offsets": [start, stop]}
        start = stop
    header = json.dumps(entries).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + start)


# --- what runs in the process of its own


def _write(dtype: str, shape: str, nbytes: int, number: int, path: Path) -> dict[str, Any]:
    """Save model `number`; returns its tensors, which lie in a mapped file that is already deleted."""
    import torch

    layout = dict(shapes(shape, nbytes // ITEMSIZE[dtype]))
    values = path.with_suffix(".values")
    _values(dtype, sum(math.prod(s) for s in layout.values()), number, values)
    tensors = dict(_mapped(layout, dtype, values))
    values.unlink()
    torch.save({"state_dict": tensors, "epoch": number, "global_step": 1000 * number}, path)
    return tensors


def _values(dtype: str, elements: int, number: int, path: Path) -> None:
    import numpy as np
    import torch

    base, own = np.random.Generator(np.random.SFC64(0)), np.random.Generator(np.random.SFC64(number))
    with path.open("wb") as file:
        for start in range(0, elements, _ROUND):
            count = min(_ROUND, elements - start)
            made = base.standard_normal(count, np.float32) * np.float32(0.02)
            if number:
                made += own.standard_normal(count, np.float32) * np.float32(0.002)
            file.write(torch.from_numpy(made).to(getattr(torch, dtype)).view(torch.uint8).numpy().data)


def _mapped(layout: dict[str, tuple[int, ...]], dtype: str, path: Path) -> Iterator[tuple[str, Any]]:
    """Tensors over a file's bytes, each with a storage of its own: torch.save writes them without holding them all."""
    import numpy as np
    import torch

    whole, start = np.memmap(path, np.uint8, "r+"), 0
    for name, shape in layout.items():
        stop = start + math.prod(shape) * ITEMSIZE[dtype]
        yield name, torch.from_numpy(whole[start:stop]).view(getattr(torch, dtype)).view(shape)
        start = stop


def _save_shards(tensors: dict[str, Any], folder: Path) -> None:
    """A folder as Hugging Face writes it: shards of about as many tensors each, and their index."""
    from safetensors.torch import save_file

    folder.mkdir()
    names = list(tensors)
    weight_map: dict[str, str] = {}
    for number in range(_SHARDS):
        own = names[number * len(names) // _SHARDS : (number + 1) * len(names) // _SHARDS]
        file = f"model-{number + 1:05}-of-{_SHARDS:05}.safetensors"
        save_file({name: tensors[name] for name in own}, folder / file)
        weight_map |= dict.fromkeys(own, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.workload")
    parser.add_argument("dtype", choices=ITEMSIZE)
    parser.add_argument("shape", choices=["network", "small"])
    parser.add_argument("nbytes", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("path", type=Path, help="of the first .ckpt")
    parser.add_argument("--forms", nargs="*", default=[], choices=_FORMS)
    asked = parser.parse_args()
    for number in range(asked.count):
        path = asked.path.with_name(asked.path.name.replace("-m0.", f"-m{number}."))
        tensors = _write(asked.dtype, asked.shape, asked.nbytes, number, path)
        if "safetensors" in asked.forms:
            from safetensors.torch import save_file

            save_file(tensors, path.with_suffix(".safetensors"))
        if "sharded" in asked.forms:
            _save_shards(tensors, path.with_suffix(""))


if __name__ == "__main__":
    _main()
