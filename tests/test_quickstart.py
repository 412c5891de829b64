"""The recipes over the quickstart's checkpoints, which Lightning wrote, against plain torch arithmetic."""

import shutil
from pathlib import Path

import pytest
import torch

from tests.consensus import ties
from tests.merging import close, same
from weightmath.job import prepare
from weightmath.running import load, run

RECIPES = Path(__file__).parent.parent / "recipes"


@pytest.fixture
def merge(tmp_path):
    """Run a recipe in a copy of the folder; its report, and what it saved."""
    shutil.copytree(RECIPES / "quickstart", tmp_path / "quickstart")

    def call(kind, *sets):
        shutil.copy(RECIPES / f"{kind}.yaml", tmp_path)
        report = run(prepare(load(tmp_path / f"{kind}.yaml", sets=sets)), force=True)
        return report, state(report.job.saves[0].path)

    return call


def state(path):
    return torch.load(path, weights_only=True)["state_dict"]


BASE, LEFT, RIGHT = (state(RECIPES / "quickstart" / f"{name}.ckpt") for name in ("base", "left", "right"))


def each(formula):
    return {name: formula(x, LEFT[name], RIGHT[name]) for name, x in BASE.items()}


def test_quickstart(merge):
    report, out = merge("quickstart")
    close(out, each(lambda base, left, right: base + 0.7 * ((left - base) + (right - base))))
    assert [claim.held for claim in report.answers.claims] == [True]
    assert list(report.answers.shown[0][1]) == [f"layers.{i}" for i in range(4)]
    assert report.warnings == ()


def test_task_arithmetic(merge):
    close(
        merge("task_arithmetic")[1], each(lambda base, left, right: base + 0.7 * (left - base) + 0.6 * (right - base))
    )
    close(merge("task_arithmetic", "weights=[-1, 0]")[1], each(lambda base, left, right: base - (left - base)))


def test_weighted_average(merge):
    close(merge("weighted_average")[1], each(lambda base, left, right: (2 * left + 2 * right + base) / 5))


def test_global_ties(merge):
    close(merge("global_ties")[1], ties(BASE, [LEFT, RIGHT], list(BASE), [0.2, 0.2], [1, 1]))


def test_layer_ramp(merge):
    report, out = merge("layer_ramp")
    expected = {name: x + int(name.split(".")[1]) / 3 * (RIGHT[name] - x) for name, x in LEFT.items()}
    close(out, expected)
    for name, share in report.answers.shown[0][1].items():
        assert share == pytest.approx(int(name.split(".")[1]) / 3, abs=1e-6)


def test_masked_graft(merge):
    report, out = merge("masked_graft")
    same(out, {name: RIGHT[name] if name[:8] in ("layers.0", "layers.1") else x for name, x in LEFT.items()})
    assert sum(change.changed > 0 for change in report.results.outcomes["grafted.ckpt"].tensors.values()) == 4


def test_a_difference_is_taken_out_and_put_back(merge):
    report, delta = merge("finetune_delta")
    same(delta, each(lambda base, left, right: left - base))
    assert set(torch.load(report.job.saves[0].path, weights_only=True)) == {"state_dict"}
    close(merge("apply_delta")[1], LEFT)
    close(merge("apply_delta", "strength=-1")[1], each(lambda base, left, right: base - (left - base)))


def test_noise_probe(merge):
    report, out = merge("noise_probe")
    flat = [((out[name] - x) / (0.01 * x.std(correction=0))).flatten() for name, x in BASE.items()]
    noise = torch.cat(flat)
    assert noise.mean().abs() < 0.05
    assert noise.std() == pytest.approx(1, abs=0.03)
    same(merge("noise_probe")[1], out)
    assert not torch.equal(merge("noise_probe", "seed=8")[1]["layers.2.weight"], out["layers.2.weight"])
    assert report.results.outcomes["noisy.ckpt"].relative_change == pytest.approx(0.01, rel=0.1)
