"""Recipes that go through every phase of a run, over small checkpoints, and a driver that lets them die."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

HEAD = "inputs: {a: a.ckpt, b: b.ckpt, c: c.ckpt}\nparams: {strength: 0.7}\n"
RECIPES = {
    "average": """
save:
  out.ckpt: a + strength * ((b + c) / 2 - a)
""",
    "selection": """
let:
  d: keep_largest(b - a, density=0.3)
save:
  out.ckpt: a + strength * d / norm(d)
""",
    "ties": """
show:
  - norm(b - a, scope="layer")
save:
  out.ckpt: ties(a, [b, c], scale=strength)
""",
    "by tensor": """
show:
  - median(b, scope="tensor")
  - norm(b - a, scope="row")
expect:
  - cosine(a, b) < 0.9
save:
  out.ckpt: a + strength * keep_largest(b - a, density=0.2, scope="tensor")
""",
    "whole tensors": """
save:
  out.ckpt: low_rank(a, b, rank=2, scale=strength)
""",
    "two outputs": """
integers: {"*": sum}
save:
  out.ckpt: {value: a + strength * (b - a), dtype: bfloat16}
  other.ckpt: {value: "mean([b, c])", template: b, keep: weights}
""",
    "a delta": """
save:
  out.delta: {value: "b - a", as: int8}
""",
    "a delta and a model": """
save:
  out.ckpt: a + strength * (b - a)
  out.delta: {value: "b - a", as: {kind: sparse, density: 0.2}}
""",
    "folder": """
except: [head]
save:
  out/: {value: a + strength * (b - c), shard: 2MB}
""",
}


OUTPUTS = ("out.ckpt", "other.ckpt", "out", "out.delta")


def checkpoint(seed: int) -> dict[str, Any]:
    """Tensors of several chunks, of one, small, transposed, tied and whole-numbered ones, and an optimizer's state."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    state = {f"layers.{i}.{name}": draw(*shape) for i in range(3) for name, shape in (("w", (300, 700)), ("b", (700,)))}
    state |= {f"layers.{i}.norm": draw(16) for i in range(20)}
    state |= {"long": draw(2, 150_000), "turned": draw(90, 40).T, "steps": torch.tensor([seed, 7]), "empty": draw(0, 3)}
    state |= {"head": state["layers.0.b"]}
    return {"state_dict": state, "optimizer": {"momentum": draw(700_000)}, "epoch": seed}


class Driver:
    """A recipe in a folder, and the process that runs it again and again."""

    def __init__(self, folder: Path, recipe: str) -> None:
        self.folder = folder
        self.recipe = folder / "merge.yaml"
        self.recipe.write_text(HEAD + recipe)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.driver", str(self.recipe)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip

    def send(self, **order: Any) -> None:
        """Begin a run."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """What became of it."""
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def run(self, **order: Any) -> dict[str, Any]:
        self.send(**order)
        return self.answer()

    @property
    def targets(self) -> list[Path]:
        return [path for path in (self.folder / name for name in OUTPUTS) if path.exists()]

    @property
    def hidden(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir() if path.name.startswith("."))

    def digests(self) -> dict[str, str]:
        files = [file for target in self.targets for file in (target, *target.rglob("*")) if file.is_file()]
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    def forget(self) -> None:
        """Remove the outputs, and all that runs have left."""
        for path in (*self.targets, *(self.folder / name for name in self.hidden)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def undisturbed(self, **order: Any) -> tuple[dict[str, Any], dict[str, str]]:
        """What a run answers and writes that nothing happens to."""
        answer = self.run(**order)
        digests = self.digests()
        assert answer["signal"] == 0
        assert answer.get("error") is None
        assert not answer["resumed"]
        assert self.hidden == []
        self.forget()
        return answer, digests

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a.ckpt, b.ckpt and c.ckpt."""
    folder = tmp_path_factory.mktemp("crash")
    for seed, name in enumerate("abc"):
        torch.save(checkpoint(seed), folder / f"{name}.ckpt")
    return folder


@pytest.fixture
def driver(request: pytest.FixtureRequest, checkpoints: Path, tmp_path: Path) -> Iterator[Driver]:
    """A driver of the recipe that the test names, or of all; its inputs are links."""
    for path in checkpoints.iterdir():
        (tmp_path / path.name).hardlink_to(path)
    made = Driver(tmp_path, RECIPES[getattr(request, "param", "average")])
    yield made
    made.close()
