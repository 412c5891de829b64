"""Outputs are on the disk before they get their names, and the names are before a command says that it is done."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from weightmath.checkpoint import open_checkpoint
from weightmath.delta import api as delta
from weightmath.delta.api import Options
from weightmath.job import prepare
from weightmath.recipe import loads
from weightmath.running import run


def save(output: str) -> Callable[[Path], object]:
    def work(folder: Path) -> object:
        text = f"{{inputs: {{a: a.pt, b: b.pt}}, save: {{{output}: b - a}}}}"
        text = text if output.endswith(".delta") else text.replace("b - a", "0.5 * a + 0.5 * b")
        return run(prepare(loads(text, "r.yaml", folder / "r.yaml")))

    return work


def make(folder: Path) -> object:
    sides = [open_checkpoint(folder / name).section() for name in ("a.pt", "b.pt")]
    return delta.make(*sides, folder / "made.delta", Options())


def apply(folder: Path) -> object:
    make(folder)
    base, file = open_checkpoint(folder / "a.pt").section(), delta.open_delta(folder / "made.delta")
    return delta.apply(base, [file], folder / "applied.pt")


WAYS = {
    "out.ckpt": save("out.ckpt"),
    "out.safetensors": save("out.safetensors"),
    "out": save("out/"),
    "out.delta": save("out.delta"),
    "made.delta": make,
    "applied.pt": apply,
}


@pytest.mark.parametrize("output", WAYS)
def test_flushed_named_and_the_folder_flushed(output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed, name in enumerate(("a.pt", "b.pt")):
        torch.save({"w": torch.randn(50, generator=torch.Generator().manual_seed(seed))}, tmp_path / name)
    events: list[tuple[str, str]] = []
    sources: dict[str, str] = {}
    plain = {name: getattr(os, name) for name in ("fsync", "replace", "rename")}

    def flushed(file: int) -> None:
        # What a file is called when it is flushed: its hidden name.
        events.append(("flushed", os.path.realpath(f"/proc/self/fd/{file}")))
        plain["fsync"](file)

    def moved(source: str | Path, target: str | Path) -> None:
        events.append(("named", os.path.realpath(target)))
        sources[os.path.realpath(target)] = os.path.realpath(source)
        plain["replace"](source, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", moved)
    monkeypatch.setattr(os, "rename", moved)
    WAYS[output](tmp_path)
    target = os.path.realpath(tmp_path / output)
    named, first = events.index(("named", target)), sources[target]
    first = sources.get(first, first)  # a delta of a recipe has two hidden names
    assert [path for what, path in events[:named] if what == "flushed" and path.startswith(first)]
    assert ("flushed", os.path.realpath(tmp_path)) in events[named:]
