"""Buffers that no one trains: which names they have, when they follow the formula, and what the plan says of it."""

import pytest
import torch

from tests.families import resnet, sd15, state
from tests.merging import Bench, close, same
from weightmath.files.buffers import is_batch_statistic, is_buffer

AVERAGES = [
    ("lerp(a, b, 0.25)", lambda a, b: torch.lerp(a, b, 0.25)),
    ("mean([a, b])", lambda a, b: (a + b) / 2),
    ("weighted_mean([a, b], [1, 3])", lambda a, b: (a + 3 * b) / 4),
    ("a + 0.5 * (b - a)", lambda a, b: a + 0.5 * (b - a)),
    ("overlay(a, mean([a, b]))", lambda a, b: (a + b) / 2),
    ('lerp(only(a, "*"), b, 0.5)', lambda a, b: (a + b) / 2),
    ("where(matrices(), a, mean([a, b]))", lambda a, b: a if a.ndim > 1 else (a + b) / 2),
]
OTHERS = [
    ("a + 1.5 * (b - a)", lambda a, b: a + 1.5 * (b - a)),
    ("2 * a - b", lambda a, b: 2 * a - b),
    ("a + 0 * gaussian(seed=1)", lambda a, b: a),
    ("model(median([a, b]))", lambda a, b: (a + b) / 2),
]


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture
def models(bench):
    states = {name: state(resnet(), seed) for name, seed in (("a", 1), ("b", 2))}
    bench.save(**states)
    return states


def merge(bench, formula, more=""):
    return bench.run(f"inputs: {{a: a.ckpt, b: b.ckpt}}\nsave:\n  out.ckpt: {formula}\n{more}", force=True)


def expected(models, formula, buffers):
    """The formula on all floats, but on buffers only where `buffers` says so."""
    return {
        name: formula(x, models["b"][name]) if x.is_floating_point() and (buffers or not is_buffer(name)) else x
        for name, x in models["a"].items()
    }


@pytest.mark.parametrize(("text", "formula"), AVERAGES)
def test_buffers_follow_averages(bench, models, text, formula):
    report = merge(bench, text)
    close(bench.load(), expected(models, formula, buffers=True))
    assert report.warnings == (
        "BatchNorm statistics are merged by the formula (40 tensors); recompute them on data if you can",
    )


@pytest.mark.parametrize(("text", "formula"), OTHERS)
def test_buffers_stay_the_templates_elsewhere(bench, models, text, formula):
    report = merge(bench, text)
    close(bench.load(), expected(models, formula, buffers=False))
    stale = (
        "BatchNorm statistics stay the template's (40 tensors) and may be stale for the new weights; "
        "recompute them on data if you can"
    )
    assert stale in report.warnings or "0 *" in text
    assert {name: reason for name, reason in report.job.copied.items() if reason.startswith("a buffer")} == {
        name: "a buffer, and not every output is an average" for name in models["a"] if is_batch_statistic(name)
    }


def test_a_recipe_decides_otherwise(bench, models):
    formula = OTHERS[0][1]
    merge(bench, "a + 1.5 * (b - a)", "buffers: merge\nnonfinite: allow")
    close(bench.load(), expected(models, formula, buffers=True))
    merge(bench, "mean([a, b])", "buffers: template")
    close(bench.load(), expected(models, AVERAGES[1][1], buffers=False))
    report = merge(bench, "mean([a, b])", "buffers: {'*running_var': template, '*': merge}")
    out = bench.load()
    assert torch.equal(out["bn1.running_var"], models["a"]["bn1.running_var"])
    assert torch.allclose(
        out["bn1.running_mean"], (models["a"]["bn1.running_mean"] + models["b"]["bn1.running_mean"]) / 2
    )
    assert report.warnings == (
        "BatchNorm statistics are merged by the formula (20 tensors); recompute them on data if you can",
        "BatchNorm statistics stay the template's (20 tensors) and may be stale for the new weights; recompute them on "
        "data if you can",
    )
    assert report.job.copied["bn1.running_var"] == "`buffers: template`"
    assert bench.mistake("inputs: {a: a.ckpt}\nsave: {x.ckpt: a}\nbuffers: {'*runing_var': merge}") == (
        "merge.yaml:3: buffers: the pattern `*runing_var` matches no tensor\n  hint: did you mean `bn1.running_var`?"
    )


def test_a_difference_has_all_that_it_takes_to_give_the_model_back(bench, models):
    assert merge(bench, "b - a").warnings == ()
    close(bench.load(), {n: models["b"][n] - x if x.is_floating_point() else x for n, x in models["a"].items()})
    (bench.folder / "out.ckpt").rename(bench.folder / "d.ckpt")
    bench.run("inputs: {a: a.ckpt, d: {path: d.ckpt, kind: delta}}\nsave:\n  out.ckpt: a + d", force=True)
    floats = {n: x for n, x in models["b"].items() if x.is_floating_point()}
    close({n: x for n, x in bench.load().items() if n in floats}, floats)


def test_patterns_of_a_formula_may_match_what_is_left_out(bench, models):
    text = 'model(where(match("*running_var", "fc.*"), a, a + 1.5 * (b - only(a, "*running*", "*.weight", "*.bias"))))'
    formula = lambda a, b: a + 1.5 * (b - a)  # noqa: E731
    merge(bench, text)
    close(
        bench.load(), expected(models, formula, buffers=False) | {n: models["a"][n] for n in ("fc.weight", "fc.bias")}
    )
    merge(bench, "a + rate * (b - a)", "params: {rate: {'*running*': 0, '*.bias': 0, '*': 1.5}}\nexcept: '*.bias'")
    assert bench.mistake("inputs: {a: a.ckpt}\nsave: {x.ckpt: 'only(a, \"*bais\")'}\nexcept: '*.bias'").startswith(
        "merge.yaml:2: save.x.ckpt: the pattern `*bais` matches no tensor"
    )


def test_nothing_is_told_of_statistics_that_do_not_matter(bench, models):
    assert merge(bench, "a + 0 * b").warnings == (
        "out.ckpt: nothing changed against the template: the merge had no effect",
    )
    report = merge(bench, 'overlay(a, only(b, "fc.*"))')
    assert report.warnings == (
        "BatchNorm statistics stay the template's (40 tensors) and may be stale for the new weights; recompute them on "
        "data if you can",
    )


def test_schedules_of_diffusion_are_not_extrapolated(bench):
    a, b = state(sd15(), 1), state(sd15(), 2)
    bench.save(a=a, b=b)
    merge(bench, "a + 2 * (b - a)")
    out, schedules = bench.load(), [name for name in a if "." not in name]
    assert len(schedules) == 12
    same({name: out[name] for name in schedules}, {name: a[name] for name in schedules})
    assert sum(torch.equal(x, a[name]) for name, x in out.items()) == 13  # and position_ids


@pytest.mark.parametrize(
    ("name", "buffer"),
    [
        ("layer1.0.bn1.running_mean", True),
        ("running_var", True),
        ("model.layers.0.self_attn.rotary_emb.inv_freq", True),
        ("layers.0.blocks.0.attn.relative_position_index", True),
        ("alphas_cumprod_prev", True),
        ("sqrt_recipm1_alphas_cumprod", True),
        ("posterior_mean_coef1", True),
        ("diffusion.betas", True),
        ("layer1.0.bn1.weight", False),
        ("alphabetas", False),
        ("model.layers.0.mlp.up_proj.weight", False),
        ("blocks.0.attn.relative_position_bias_table", False),
    ],
)
def test_names(name, buffer):
    assert is_buffer(name) is buffer
