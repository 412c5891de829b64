"""Damage at every byte of small files of each kind: the same values, a clear error naming the file, or a failed check.

What no reader can know is whether a changed number was meant: zips and deltas hold checksums and outputs in safetensors
their fingerprint, which `inspect --check` compares. Plain safetensors and legacy files hold nothing of the kind.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from weightmath.checkpoint import open_checkpoint
from weightmath.delta import api as delta
from weightmath.delta.api import Options
from weightmath.errors import CheckpointError, LayoutError
from weightmath.job import prepare
from weightmath.recipe import loads
from weightmath.reports.checking import checked
from weightmath.running import run

Values = dict[str, tuple[object, ...]]

STATE = {"a.w": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2]), "c": torch.ones(3).bfloat16()}
TUNED = {"a.w": torch.arange(6.0).reshape(2, 3) * 1.01, "b": torch.tensor([1, 3]), "c": torch.zeros(3).bfloat16()}


def output(folder: Path) -> Path:
    """An output of weightmath, which carries its fingerprint."""
    torch.save(STATE, folder / "base.pt")
    text = "{inputs: {base: base.pt}, save: {out.safetensors: base}}"
    run(prepare(loads(text, "r.yaml", folder / "r.yaml")))
    return folder / "out.safetensors"


def a_delta(kind: str, keep: Literal["all", "weights"] = "weights", **options: float) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        for name, state in (("base", STATE), ("tuned", TUNED)):
            torch.save(state, folder / f"{name}.pt")
        sides = [open_checkpoint(folder / f"{name}.pt").section() for name in ("base", "tuned")]
        delta.make(*sides, folder / "x.delta", Options(kind, **options), keep=keep)  # type: ignore[arg-type]
        return folder / "x.delta"

    return make


def written(name: str, write: Callable[[Path], object]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write(folder / name)
        return folder / name

    return make


def legacy(path: Path) -> None:
    torch.save({"state_dict": STATE, "epoch": 3}, path, _use_new_zipfile_serialization=False)


MODERN = written("x.pt", lambda path: torch.save({"state_dict": STATE, "epoch": 3}, path))
FILES = {
    "zip": MODERN,
    "legacy": written("x.pth", legacy),
    "safetensors": written("x.safetensors", lambda path: save_file(STATE, path)),
    "output": output,
    "exact": a_delta("exact"),
    "whole file": a_delta("exact", "all"),
    "sparse": a_delta("sparse"),
    "int8": a_delta("int8"),
    "sign": a_delta("sign"),
    "low-rank": a_delta("low-rank", rank=1),
    "dense": a_delta("dense"),
}
WITH_CHECKS = sorted({*FILES} - {"legacy", "safetensors"})


def values(path: Path) -> Values:
    """All tensors of a checkpoint: their names, dtypes, shapes and bits; of a delta those of the base with it."""
    if path.suffix == ".delta":
        base = open_checkpoint(path.parent / "base.pt").section()
        delta.apply(base, [delta.open_delta(path)], path.parent / "applied.pt", threads=1, force=True)
        path = path.parent / "applied.pt"
    checkpoint = open_checkpoint(path)
    found: Values = {}
    with checkpoint.open() as reader:
        for tensor in checkpoint.tensors:
            out = np.empty(tensor.entry.size, tensor.entry.dtype.bits)
            reader.read(tensor, 0, tensor.entry.size, out)
            found[tensor.dotted] = (tensor.entry.dtype, tensor.entry.shape, out.tobytes())
    return found


def outcome(path: Path, expected: Values) -> str:
    """What becomes of a damaged file: refused (by its name), found (by a check), same, or changed."""
    try:
        found = values(path)
    except (CheckpointError, LayoutError) as error:
        return "refused" if str(path) in str(error) else f"refused without its name: {error}"
    if found == expected:
        return "same"
    return "found" if checked(open_checkpoint(path))[0].problems else "changed"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "fsync", lambda file: None)  # thousands of files that nobody needs after a failure of power
    return tmp_path


@pytest.mark.parametrize("kind", FILES)
def test_truncated_at_every_byte(kind: str, folder: Path) -> None:
    path = FILES[kind](folder)
    whole = path.read_bytes()
    expected = values(path)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert outcome(path, expected) in ("refused", "same"), length


@pytest.mark.parametrize("kind", FILES)
def test_a_flipped_bit_at_every_byte(kind: str, folder: Path) -> None:
    path = FILES[kind](folder)
    whole = path.read_bytes()
    expected = values(path)
    dice = random.Random(0)
    outcomes = set()
    for place in range(len(whole)):
        content = bytearray(whole)
        content[place] ^= 1 << dice.randrange(8)
        path.write_bytes(content)
        found = outcome(path, expected)
        assert not found.startswith("refused without"), (place, found)
        outcomes.add(found)
    assert "refused" in outcomes
    assert ("changed" in outcomes) == (kind not in WITH_CHECKS)
