"""Delta files in recipes and from Python: as inputs of kind delta, and as outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import weightmath as wm
from tests.delta.conftest import state
from tests.delta.test_kinds import numbers
from tests.delta.test_whole_file import section
from tests.merging import Bench
from weightmath import delta
from weightmath.delta import Options


@pytest.fixture
def bench(folder):
    bench = Bench(folder)
    bench.save(base=state(0), tuned=state(1, 1e-3), other=state(2, 1e-3))
    return bench


def make(kind: Options, tuned: str = "tuned", path: str = "x.delta") -> None:
    delta.make(section("base.ckpt"), section(f"{tuned}.ckpt"), path, kind)


@pytest.mark.parametrize(
    "kind", [Options("dense"), Options("sparse", density=0.3), Options("int8"), Options("low-rank", rank=3)], ids=str
)
def test_a_delta_file_is_an_input_of_kind_delta(bench, kind, monkeypatch):
    monkeypatch.setattr("weightmath.delta.pieces.PIECE", 500)
    make(kind)
    bench.run("{inputs: {skill: x.delta, base: base.ckpt}, save: {out.ckpt: base + 0.7 * skill}}")
    for name, value in bench.load().items():
        expected = state(0)[name].numpy() + np.float32(0.7) * numbers()[name]
        np.testing.assert_allclose(value.numpy(), expected, rtol=1e-6, atol=1e-8)


def test_what_a_delta_lacks_is_zero(bench):
    tuned = state(1, 1e-3)
    del tuned["layers.1.weight"]
    bench.save(part=tuned)
    delta.make(section("base.ckpt"), section("part.ckpt"), "x.delta", Options("dense"), fit=True)
    bench.run("{inputs: {base: base.ckpt, skill: x.delta}, save: {out.ckpt: base + skill}}")
    assert torch.equal(bench.load()["layers.1.weight"], state(0)["layers.1.weight"])


def test_adding_two_models_is_still_refused(bench):
    make(Options("int8"))
    bench.mistake("{inputs: {base: base.ckpt, other: other.ckpt, d: x.delta}, save: {out.ckpt: base + other + d}}")


def test_exact_deltas_say_how_to_use_them(bench):
    make(Options("exact"))
    message = bench.mistake("{inputs: {base: base.ckpt, skill: x.delta}, save: {out.ckpt: base + skill}}")
    assert "weightmath delta apply base.ckpt x.delta -o tuned.ckpt" in message


def test_from_python(bench):
    make(Options("int8"))
    base, skill = wm.open("base.ckpt"), wm.open("x.delta", name="skill")
    wm.save(base + 0.5 * skill, "out.ckpt", template=base)
    name = "layers.0.weight"
    expected = state(0)[name].numpy() + np.float32(0.5) * numbers()[name]
    np.testing.assert_allclose(bench.load()[name].numpy(), expected, rtol=1e-6, atol=1e-8)
