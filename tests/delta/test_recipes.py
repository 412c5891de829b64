"""Delta files in recipes and from Python: as inputs of kind delta, and as outputs."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import weightmath as wm
from tests.delta.conftest import flip, redescribe, state
from tests.delta.test_kinds import numbers
from tests.delta.test_whole_file import section
from tests.merging import Bench
from weightmath.delta import api as delta
from weightmath.delta.api import Options
from weightmath.delta.decoding import HELD
from weightmath.errors import CheckpointError, RecipeError
from weightmath.files.inputs import open_input
from weightmath.fingerprint import fingerprint
from weightmath.provenance.lineage import provenance_of
from weightmath.verify.verification import verify


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


@pytest.mark.parametrize("kind", [Options("dense"), Options("int8"), Options("low-rank", rank=3)], ids=str)
@pytest.mark.parametrize("pieces", [1 << 20, 500])
def test_a_damaged_delta_fails_the_run_that_reads_it(bench, kind, pieces, monkeypatch):
    monkeypatch.setattr("weightmath.delta.pieces.PIECE", pieces)
    make(kind)
    flip("x.delta", -9)
    # What another thread has done by then may be kept for a run that goes on.
    with pytest.raises(CheckpointError, match=r"x\.delta: `layers.3.weight`: its bytes do not .*\n.*copy it again"):
        bench.run("{inputs: {base: base.ckpt, skill: x.delta}, save: {out.ckpt: base + 0.7 * skill}}")
    assert not (bench.folder / "out.ckpt").exists()


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
    assert (base.source.held, skill.source.held) == (0, HELD)
    wm.save(base + 0.5 * skill, "out.ckpt", template=base)
    name = "layers.0.weight"
    expected = state(0)[name].numpy() + np.float32(0.5) * numbers()[name]
    np.testing.assert_allclose(bench.load()[name].numpy(), expected, rtol=1e-6, atol=1e-8)


def test_statistics_of_delta_files_alone(bench):
    make(Options("dense"))
    make(Options("dense"), "other", "y.delta")
    files = (numbers(f"{name}.delta").values() for name in "xy")
    x, y = (np.concatenate([value.ravel().astype(float) for value in values]) for values in files)
    expected = x @ y / np.linalg.norm(x) / np.linalg.norm(y)
    text = "{inputs: {x: x.delta, y: y.delta}, %s}"
    report = bench.run(text % "show: ['cosine(x, y)']")
    assert report.answers.shown[0][1] == pytest.approx(expected, rel=1e-6)
    assert wm.evaluate(wm.functions.cosine(wm.open("x.delta"), wm.open("y.delta"))) == pytest.approx(expected, rel=1e-6)
    assert "no input is a whole model" in bench.mistake(text % "save: {z.ckpt: x + y}")


@pytest.mark.parametrize(
    ("wish", "kind"),
    [
        ("dense", Options("dense")),
        ("sparse", Options("sparse")),
        ("int8", Options("int8")),
        ("sign", Options("sign")),
        ("{kind: sparse, density: 0.1, dtype: bfloat16}", Options("sparse", density=0.1, dtype="bfloat16")),
        ("{kind: low-rank, rank: 2}", Options("low-rank", rank=2)),
        ("{kind: auto, max_error: 0.05}", Options("auto", max_error=0.05)),
    ],
)
def test_a_recipe_saves_what_make_makes(bench, wish, kind):
    make(kind, path="made.delta")
    bench.run(
        f"{{inputs: {{base: base.ckpt, tuned: tuned.ckpt}}, save: {{x.delta: {{value: tuned - base, as: {wish}}}}}}}"
    )
    made, saved = delta.open_delta("made.delta").delta, delta.open_delta("x.delta").delta
    assert (saved.kind, saved.options, saved.base) == (made.kind, made.options, made.base)
    assert saved.error == pytest.approx(made.error, rel=1e-12)
    for name, value in numbers("made.delta").items():
        np.testing.assert_array_equal(numbers()[name], value)
    assert [path.name for path in bench.folder.glob(".*")] == []


def test_arithmetic_of_masks_becomes_a_sparse_file(bench):
    report = bench.run(
        """
inputs: {base: base.ckpt, tuned: tuned.ckpt}
save:
  x.delta: {value: 'keep_largest(tuned - base, density=0.1, scope="global")', as: sparse}
"""
    )
    kept = sum(int(np.count_nonzero(value)) for value in numbers().values())
    assert kept == sum(value.numel() for value in state(0).values()) // 10
    file = delta.open_delta("x.delta")
    assert file.delta.error == 0
    assert report.job.saves[0].target.name == "x.delta"
    delta.apply(section("base.ckpt"), [file], "out.ckpt")
    bench.run("{inputs: {base: base.ckpt, d: x.delta}, save: {again.ckpt: base + d}}")
    for name, value in bench.load().items():
        assert torch.equal(value, bench.load("again")[name])


def test_rows_that_not_all_have_are_not_in_the_delta(bench):
    longer = state(1, 1e-3)
    longer["layers.3.weight"] = torch.cat([longer["layers.3.weight"], torch.ones(20, 40)])
    bench.save(longer=longer)
    bench.run(
        'inputs: {base: longer.ckpt, other: other.ckpt}\nfit: {"layers.3.weight": rows}\nsave: {x.delta: other - base}'
    )
    assert numbers()["layers.3.weight"].shape == (300, 40)
    delta.apply(section("longer.ckpt"), [delta.open_delta("x.delta")], "out.ckpt")
    assert torch.equal(bench.load()["layers.3.weight"][300:], torch.ones(20, 40))


@pytest.mark.parametrize(
    ("save", "message"),
    [
        ("x.delta: tuned", "a delta file holds a difference"),
        ("x.ckpt: {value: tuned - base, as: sparse}", "`as:` is for delta files"),
        ("x.delta: {value: tuned - base, dtype: float16}", "`dtype:` is not for delta files"),
        ("x.delta: {value: tuned - base, as: {kind: int8, rank: 3}}", "`rank` is not for int8 deltas"),
        ("base.ckpt: {value: tuned - base, as: exact}", "exact"),
    ],
)
def test_outputs_that_cannot_be_meant(bench, save, message):
    assert message in bench.mistake(f"{{inputs: {{base: base.ckpt, tuned: tuned.ckpt}}, save: {{{save}}}}}")


def test_a_delta_file_is_not_replaced_unasked(bench):
    text = "{inputs: {base: base.ckpt, tuned: tuned.ckpt}, save: {x.delta: tuned - base}}"
    bench.run(text)
    assert "exists" in bench.mistake(text)
    bench.run(text, force=True)


def test_a_delta_of_another_base_is_noticed(bench):
    make(Options("int8"))
    text = "{{inputs: {{base: {}.ckpt, skill: x.delta}}, save: {{out.ckpt: base + skill}}}}"
    assert not [one for one in bench.run(text.format("base")).warnings if "skill" in one]
    (warning,) = [one for one in bench.run(text.format("other"), force=True).warnings if "skill" in one]
    own = delta.open_delta("x.delta").delta.base.fingerprint
    assert warning == f"`skill` is a delta of base.ckpt ({own}), which is none of the inputs"


@pytest.mark.parametrize("kind", ["dense", "{kind: sparse, density: 0.1}", "int8", "sign", "{kind: low-rank, rank: 2}"])
def test_a_delta_that_a_recipe_made_carries_how_and_can_be_verified(bench, kind):
    bench.run(
        f'{{inputs: {{base: base.ckpt, tuned: tuned.ckpt}}, save: {{x.delta: {{value: "tuned - base", as: {kind}}}}}}}'
    )
    own = provenance_of(open_input("x", "x.delta").checkpoint).record
    assert own.fingerprint == fingerprint(open_input("x", "x.delta").section)
    assert [(name, one.file, one.coefficient) for name, one in own.inputs.items()] == [
        ("base", "base.ckpt", -1.0),
        ("tuned", "tuned.ckpt", 1.0),
    ]
    assert own.inputs["tuned"].fingerprint == fingerprint(section("tuned.ckpt"))
    found = verify(bench.folder / "x.delta")
    assert (found.differences, found.elements) == ((), sum(value.numel() for value in state(0).values()))
    # A merge that was made of it knows where it came from.
    bench.run("{inputs: {base: base.ckpt, skill: x.delta}, save: {out.ckpt: base + 0.5 * skill}}")
    history = provenance_of(open_input("x", "out.ckpt").checkpoint)
    assert history.made(history.record.inputs["skill"]) == own


def test_a_delta_that_was_changed_is_not_what_its_recipe_makes(bench):
    text = "{inputs: {base: base.ckpt, tuned: tuned.ckpt}, save: {x.delta: tuned - base}}"
    bench.run(text)
    before = delta.open_delta("x.delta").delta.sums["layers.3.weight"]
    flip("x.delta", -4)
    after = zlib.crc32(load_file("x.delta")["layers.3.weight"].numpy())
    redescribe("x.delta", f'"layers.3.weight":{before}', f'"layers.3.weight":{after}')
    found = verify(bench.folder / "x.delta")
    (one,) = found.differences
    assert (one.different, found.is_untouched) == (1, False)
    assert one.tensor == "layers.3.weight"
    with pytest.raises(RecipeError, match="no sample"):
        verify(bench.folder / "x.delta", share=0.1)
    bench.run(text.replace("save", "provenance: none, save"), force=True)
    assert provenance_of(open_input("x", "x.delta").checkpoint) is None
