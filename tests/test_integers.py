"""Tensors outside the vector: whose they are, what is combined, and what is told where inputs disagree."""

import pytest
import torch

from tests.families import resnet, state
from tests.merging import Bench, close, same


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def counters(tensors):
    return {name: x for name, x in tensors.items() if not x.is_floating_point()}


TEXT = "inputs: {a: a.ckpt, b: b.ckpt, c: c.ckpt}\nsave: {out.ckpt: 'mean([a, b, c])'}\n"


@pytest.fixture
def models(bench):
    states = {name: state(resnet(), seed) for name, seed in (("a", 3), ("b", 7), ("c", 5))}
    for tensors in states.values():
        tensors["mask"] = torch.tensor([True, False])
    bench.save(**states)
    return states


def test_the_template_decides_and_disagreement_is_listed(bench, models):
    report = bench.run(TEXT)
    out = bench.load()
    same(counters(out), counters(models["a"]))
    names = sorted(name for name in models["a"] if name.endswith("num_batches_tracked"))
    assert sorted(report.integers.items()) == [(name, "template") for name in names]
    expected = {
        n: sum(m[n] for m in models.values()) / 3 if x.is_floating_point() else x for n, x in models["a"].items()
    }
    close(out, expected)


def test_equal_tensors_are_not_listed(bench, models):
    bench.save(b=models["a"], c=models["a"])
    assert bench.run(TEXT).integers == {}


@pytest.mark.parametrize(("policy", "expected"), [("max", 7), ("sum", 15), ("template", 3)])
def test_a_policy_per_pattern(bench, models, policy, expected):
    report = bench.run(TEXT + f"integers: {{'bn1.*': template, '*num_batches_tracked': {policy}}}")
    out = bench.load()
    assert out["bn1.num_batches_tracked"] == 3
    assert out["layer1.0.bn1.num_batches_tracked"] == expected
    assert out["layer1.0.bn1.num_batches_tracked"].dtype == torch.int64
    assert report.integers["layer1.0.bn1.num_batches_tracked"] == policy
    assert report.integers["bn1.num_batches_tracked"] == "template"


def test_large_tensors_are_combined_piece_by_piece(bench):
    torch.manual_seed(0)
    states = {n: {"w": torch.zeros(2), "ids": torch.randint(-9, 9, (700, 800), dtype=torch.int32)} for n in "ab"}
    bench.save(**states)
    report = bench.run("inputs: {a: a.ckpt, b: b.ckpt}\nsave: {out.ckpt: 'mean([a, b])'}\nintegers: max")
    assert torch.equal(bench.load()["ids"], torch.maximum(states["a"]["ids"], states["b"]["ids"]))
    assert report.integers == {"ids": "max"}


DTYPES = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.uint64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("policy", ["max", "sum"])
def test_integers_of_every_width(bench, dtype, policy):
    least = max(torch.iinfo(dtype).min, -5)
    numbers = [torch.tensor(n) for n in ([1, 3, 50], [least, 15, 7], [100, 7, 60])]
    bench.save(**{name: {"w": torch.zeros(2), "n": n.to(dtype)} for name, n in zip("abc", numbers, strict=True)})
    bench.run(TEXT + f"integers: {policy}")
    together = torch.stack(numbers)
    expected = together.sum(0) if policy == "sum" else together.amax(0)
    assert torch.equal(bench.load()["n"], expected.to(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sum_that_its_integers_cannot_hold(bench, dtype):
    limit = torch.iinfo(dtype).max
    same = {"w": torch.zeros(2), "n": torch.tensor([0, limit // 2 + 1], dtype=dtype)}
    bench.save(a=same, b=same, c=same)
    assert bench.mistake(TEXT + "integers: sum") == (
        f"merge.yaml:3: integers: the sum of `n` is beyond {str(dtype).removeprefix('torch.')}\n"
        '  hint: take the template\'s: integers: {"n": template}'
    )


def test_two_outputs_with_templates_of_their_own(bench, models):
    bench.run(
        "inputs: {a: a.ckpt, b: b.ckpt}\nlet: {m: 'mean([a, b])'}\nintegers: {'*tracked': sum}\n"
        "save: {x.ckpt: m, y.ckpt: {value: m, template: b}}"
    )
    assert bench.load("x")["bn1.num_batches_tracked"] == bench.load("y")["bn1.num_batches_tracked"] == 10


def test_shapes_that_differ(bench, models):
    wide = {**models["b"], "layer2.0.bn1.num_batches_tracked": torch.tensor([1, 2])}
    bench.save(b=wide)
    report = bench.run(TEXT)
    assert report.integers["layer2.0.bn1.num_batches_tracked"] == "template"
    difference = "int64 [] in `a`, int64 [2] in `b`"
    for policy in ("error", "max", "sum"):
        assert bench.mistake(TEXT + f"integers: {{'*tracked': {policy}}}") == (
            f"merge.yaml:3: integers: inputs disagree in `layer2.0.bn1.num_batches_tracked`: {difference}\n"
            '  hint: take the template\'s: integers: {"layer2.0.bn1.num_batches_tracked": template}'
        )


def test_mistakes(bench, models):
    fact = "merge.yaml:3: integers: inputs disagree in `bn1.num_batches_tracked`"
    assert bench.mistake(TEXT + "integers: error").startswith(f"{fact}\n  hint: ")
    assert bench.mistake(TEXT + "integers: max") == (
        "merge.yaml:3: integers: `mask` is bool, and `max` is for whole numbers\n"
        '  hint: put a line before it: "mask": template'
    )
    bench.run(TEXT + "integers: {mask: template, '*': max}")
    assert bench.mistake(TEXT + "integers: {'*num_batches_traked': max}") == (
        "merge.yaml:3: integers: the pattern `*num_batches_traked` matches no tensor\n"
        "  hint: did you mean `bn1.num_batches_tracked`?"
    )
