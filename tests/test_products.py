"""Weights that a checkpoint holds as products, codes times scales or two factors: a merge of the parts is told."""

import pytest
import torch

from tests.merging import Bench

TEXT = "inputs: {a: a.ckpt, b: b.ckpt}\nsave: {out.ckpt: '(a + b) / 2'}\n"


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def fp8(weight):
    scale = weight.abs().max() / 448
    return {"q.weight": (weight / scale).to(torch.float8_e4m3fn), "q.weight_scale": scale}


def gptq(weight):
    scales = weight.abs().amax(0) / 127
    return {"q.qweight": (weight / scales).round().int(), "q.scales": scales.half()}


def int8(weight):
    scale = weight.abs().amax(1)
    return {"q.weight": (weight / scale[:, None] * 127).round().char(), "q.SCB": scale, "norm.weight": weight[0]}


@pytest.mark.parametrize(
    ("quantized", "scale"), [(fp8, "q.weight_scale"), (gptq, "q.scales"), (int8, "q.SCB")], ids=["fp8", "gptq", "int8"]
)
def test_scales_that_are_merged_apart_from_their_codes(bench, quantized, scale):
    generator = torch.Generator().manual_seed(0)
    a, b = (quantized(torch.randn(4, 6, generator=generator)) for _ in range(2))
    bench.save(a=a, b=b)
    warning = (
        f"merge.yaml:2: save.out.ckpt: `{scale}`: scales of quantized weights, merged apart from their codes, which "
        "gives no merge of the weights; merge the models from which they were quantized"
    )
    assert bench.run(TEXT).warnings == (warning,)


def test_quantized_weights_that_a_merge_leaves_alone(bench):
    bench.save(a=int8(torch.eye(3)), b=int8(2 * torch.eye(3)))
    assert bench.run(TEXT + "only: norm.*").warnings == ()


def test_codes_that_are_merged_and_scales_that_are_not(bench):
    bench.save(a=fp8(torch.eye(3)), b=fp8(2 * torch.ones(3, 3)))
    assert "`q.weight_scale`: scales of quantized weights" in bench.run(TEXT + "except: '*_scale'").warnings[0]


def test_a_scale_beside_plain_weights_is_a_parameter_like_any_other(bench):
    plain = {"q.weight": torch.eye(3), "q.weight_scale": torch.ones(3), "p.scales": torch.ones(2)}
    bench.save(a=plain, b={name: 2 * x for name, x in plain.items()})
    assert bench.run(TEXT).warnings == ()


def test_factors_of_adapters(bench):
    names = [f"base_model.model.{module}.lora_{part}.weight" for module in "qk" for part in "AB"]
    a = {name: torch.ones(2, 2) for name in names}
    bench.save(a=a, b={name: 3 * x for name, x in a.items()})
    assert bench.run(TEXT).warnings == (
        "merge.yaml:2: save.out.ckpt: `base_model.model.k.lora_A.weight`, `base_model.model.q.lora_A.weight`: factors "
        "of a LoRA adapter, merged apart, which gives no merge of their products; `weightmath delta from-lora` makes "
        "deltas of adapters, which do merge",
    )
