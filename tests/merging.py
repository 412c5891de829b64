"""Runs recipes over checkpoints that tests make: save with torch, merge, load with torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from weightmath.errors import WeightmathError
from weightmath.job import Job, prepare
from weightmath.recipe import loads
from weightmath.running import Report, run

State = dict[str, torch.Tensor]


class Bench:
    """A folder with checkpoints in it, and recipes that are run there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, **contents: Any) -> None:
        """Save each under its name and `.ckpt`; a state dict lies at `state_dict`, anything else is saved as it is."""
        for name, content in contents.items():
            flat = all(isinstance(value, torch.Tensor) for value in content.values())
            path = self.folder / f"{name}.ckpt"
            path.parent.mkdir(exist_ok=True)
            torch.save({"state_dict": content} if flat else content, path)

    def load(self, name: str = "out", section: str | None = "state_dict") -> Any:
        """What torch loads from `name.ckpt`."""
        content = torch.load(self.folder / f"{name}.ckpt", weights_only=True)
        return content if section is None else content[section]

    def plan(self, text: str) -> Job:
        """Prepare a recipe that lies in the folder."""
        return prepare(loads(text, "merge.yaml", self.folder / "merge.yaml"))

    def run(self, text: str, **options: Any) -> Report:
        """Prepare and run it."""
        return run(self.plan(text), threads=2, **options)

    def mistake(self, text: str) -> str:
        """The whole message of a recipe that is refused; no output may be left."""
        before = set(self.folder.rglob("*"))
        with pytest.raises(WeightmathError) as caught:
            self.run(text)
        assert set(self.folder.rglob("*")) == before
        return str(caught.value).replace(f"{self.folder}/", "")


def close(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    """Assert equal names, shapes and dtypes, and values equal up to a few units of rounding; integers exactly."""
    assert list(found) == list(expected)
    assert {name: (x.dtype, x.shape) for name, x in found.items()} == {
        n: (x.dtype, x.shape) for n, x in expected.items()
    }
    far = [name for name, value in expected.items() if not _alike(found[name], value)]
    assert far == []


def _alike(found: torch.Tensor, expected: torch.Tensor) -> bool:
    if not expected.is_floating_point():
        return torch.equal(found, expected)
    relative = 1e-3 if expected.dtype.itemsize == 2 else 1e-5
    return torch.allclose(found.double(), expected.double(), rtol=relative, atol=1e-6)


def same(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    """Assert equal names and equal bits."""
    assert list(found) == list(expected)
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []
