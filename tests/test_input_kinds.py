"""Inputs that are no models: deltas, masks of truth values, whole numbers or floats, and anything else."""

import pytest
import torch

from tests.families import llama, resnet, state, vit
from tests.merging import Bench, close


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.int64, torch.float32, torch.bfloat16])
def test_a_mask_is_true_where_it_is_not_zero(bench, kind):
    base, chat = state(resnet(), 1), state(resnet(), 2)
    generator = torch.Generator().manual_seed(0)
    floats = [name for name, x in base.items() if x.is_floating_point()]
    mask = {name: (torch.rand(base[name].shape, generator=generator) < 0.3).to(kind) for name in floats}
    if kind is torch.float32:
        mask = {name: -7.5 * x for name, x in mask.items()}
    bench.save(base=base, chat=chat, mask=mask)
    report = bench.run(
        """
inputs:
  base: base.ckpt
  chat: chat.ckpt
  mask: {path: mask.ckpt, kind: mask}
show:
  - density(mask)
  - norm(mask & ~mask)
save:
  out.ckpt: where(mask, chat, base)
  product.ckpt: base + mask * (chat - base)
buffers: merge
"""
    )
    expected = {n: torch.where(mask[n] != 0, chat[n], x) if n in mask else x for n, x in base.items()}
    close(bench.load(), expected)
    close(bench.load("product"), expected)
    share = sum(int((x != 0).sum()) for x in mask.values()) / sum(x.numel() for x in mask.values())
    assert dict(report.answers.shown) == {"density(mask)": pytest.approx(share), "norm(mask & ~mask)": 0}


def test_a_mask_that_was_saved_is_read_again(bench):
    base, chat = state(llama(), 1), state(llama(), 2)
    bench.save(base=base, chat=chat)
    bench.run(
        "inputs: {base: base.ckpt, chat: chat.ckpt}\n"
        "save: {mask.ckpt: 'largest_mask(chat - base, density=0.1, scope=\"tensor\")'}"
    )
    bench.run(
        "inputs: {base: base.ckpt, chat: chat.ckpt, mask: {path: mask.ckpt, kind: mask}}\n"
        "save: {out.ckpt: 'base + where(mask, chat - base, 0)'}"
    )
    for name, x in bench.load().items():
        delta = (chat[name] - base[name]).flatten()
        kept = torch.zeros_like(delta)
        largest = delta.abs().topk(max(1, len(delta) // 10)).indices
        kept[largest] = delta[largest]
        assert torch.allclose(x, base[name] + kept.view(x.shape), atol=1e-6), name


def test_a_mask_that_covers_a_part(bench):
    base, chat = state(vit(), 1), state(vit(), 2)
    mask = {name: torch.ones_like(x, dtype=torch.bool) for name, x in base.items() if ".attn." in name}
    bench.save(base=base, chat=chat, mask=mask)
    text = "inputs: {base: base.ckpt, chat: chat.ckpt, m: {path: mask.ckpt, kind: mask%s}}\nsave: {out.ckpt: '%s'}"
    assert bench.mistake(text % ("", "where(m, chat, base)")).endswith(
        "  hint: `part: true` says that it may lack tensors"
    )
    assert bench.mistake(text % (", part: true", "where(m, chat, base)")) == (
        "merge.yaml:2: save.out.ckpt: `where(m, chat, base)` needs the tensor `blocks.0.mlp.fc1.bias` and 31 more, "
        'which the part `m` lacks\n  hint: only(chat, "blocks.*") is narrowed to the part'
    )
    bench.run(text % (", part: true", 'overlay(base, where(m, only(chat, "*.attn.*"), only(base, "*.attn.*")))'))
    close(bench.load(), {name: chat[name] if name in mask else x for name, x in base.items()})


def test_other_vectors_weigh(bench):
    a, b = state(vit(), 1), state(vit(), 2)
    fa, fb = ({name: x.abs() + 0.1 for name, x in state(vit(), seed).items()} for seed in (3, 4))
    bench.save(a=a, b=b, fa=fa, fb=fb)
    report = bench.run(
        """
inputs:
  a: a.ckpt
  b: b.ckpt
  fa: {path: fa.ckpt, kind: other}
  fb: {path: fb.ckpt, kind: other}
save:
  out.ckpt: (fa * a + fb * b) / (fa + fb)
"""
    )
    close(bench.load(), {n: (fa[n] * x + fb[n] * b[n]) / (fa[n] + fb[n]) for n, x in a.items()})
    assert report.warnings == ("merge.yaml:8: save.out.ckpt: whether this is a model cannot be told from the formula",)


TWO = "inputs:\n  a: {path: a.ckpt, kind: %s}\n  b: {path: b.ckpt, kind: %s}\nsave:\n  out.ckpt: %s"


@pytest.mark.parametrize(
    ("kinds", "value", "expected"),
    [
        (("model", "model"), "a + b", "`a + b` must be a model, and this has weight 2: it adds up to 2 models"),
        (("model", "delta"), "ties(a, [b])", "`models` of ties(), `b`, must be a model, and this is a delta"),
        (("delta", "model"), "where(a, b, b)", "where(): `mask` must be a mask, not `a`"),
        (("mask", "model"), "a & b", "`&` takes masks, and `b` is not one"),
    ],
)
def test_kinds_are_checked(bench, kinds, value, expected):
    bench.save(a=state(vit(), 1), b=state(vit(), 2))
    assert bench.mistake(TWO % (*kinds, value)).startswith(f"merge.yaml:5: save.out.ckpt: {expected}")


@pytest.mark.parametrize(
    ("kinds", "value"),
    [(("delta", "model"), "b + 0.5 * a"), (("model", "mask"), "a + b"), (("model", "other"), "a + b")],
)
def test_kinds_that_fit(bench, kinds, value):
    bench.save(a=state(vit(), 1), b=state(vit(), 2))
    bench.run(TWO % (*kinds, value))


def test_a_tensor_that_is_no_float_here(bench):
    a, b = state(vit(), 1), state(vit(), 2)
    b["norm.bias"] = b["norm.bias"].to(torch.int32)
    bench.save(a=a, b=b)
    text = "inputs:\n  a: a.ckpt\n  b: {path: b.ckpt%s}\nsave: {out.ckpt: 'mean([a, b])'}"
    assert bench.mistake(text % "").startswith(
        "merge.yaml:3: inputs.b: b.ckpt: `b` does not have the layout of `a` (1 missing, 0 extra, 0 of another shape)\n"
        "    dtype   norm.bias: int32 here, floating-point there\n"
    )
    bench.run(text % ", missing: template")
    close(bench.load(), {n: (x + b[n]) / 2 if n != "norm.bias" else x for n, x in a.items()})


def test_a_template_that_lacks_what_the_output_has(bench):
    whole = state(vit(), 1)
    bench.save(a=whole, part={name: x for name, x in whole.items() if name.startswith("blocks.")})
    assert bench.mistake(
        "inputs: {a: a.ckpt, p: {path: part.ckpt, part: true}}\n"
        "save:\n  x.ckpt: 'overlay(a, p)'\n  y.ckpt: {value: 'overlay(a, p)', template: p}"
    ) == (
        "merge.yaml:4: save.y.ckpt: the template `p` lacks `cls_token` and 7 more, which the output has\n"
        "  hint: choose a template that has all, or narrow the value with only(...)"
    )
    assert bench.mistake("inputs: {p: {path: part.ckpt, part: true}}\nsave: {x.ckpt: p}") == (
        "merge.yaml:1: inputs: no input is a whole model that could be the template\n  hint: name one: template: p"
    )


def test_a_part_that_has_nothing_in_common_is_refused(tmp_path):
    bench = Bench(tmp_path)
    bench.save(a={"net.w": torch.ones(2), "net.b": torch.ones(2)}, p={"w": torch.ones(2), "b": torch.ones(2)})
    text = "inputs: {a: a.ckpt, p: {path: p.ckpt, part: true, extra: ignore%s}}\nsave: {out.ckpt: 'overlay(a, 2 * p)'}"
    assert bench.mistake(text % "") == (
        "merge.yaml:1: inputs.p: p.ckpt: `p` has none of the tensors of `a`, but b, w\n"
        "  hint: those are net.b, net.w: `strip:` and `rename:` make names match"
    )
    bench.run(text.replace("2 * p", "p") % ", rename: {'': net.}")
