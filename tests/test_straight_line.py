"""Recipes over checkpoints with the names of real families, end to end, against plain torch arithmetic."""

import pytest
import torch

from tests.families import llama, sd15, state, vae, vit
from tests.merging import Bench, close, same

W = 4


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def split(tensors, *prefixes):
    """The tensors whose names begin with one of these, and the others."""
    inside = {name: value for name, value in tensors.items() if name.startswith(prefixes)}
    return inside, {name: value for name, value in tensors.items() if name not in inside}


# --- parts of models


def test_a_vae_is_baked_into_a_mix(bench):
    a, b, baked = state(sd15(), 1), state(sd15(), 2), state(vae(), 3)
    bench.save(a=a, b=b, vae=baked)
    report = bench.run(
        """
inputs:
  a: a.ckpt
  b: b.ckpt
  vae: {path: vae.ckpt, rename: {"": first_stage_model.}, part: true}
let:
  mixed: lerp(a, b, 0.25)
save:
  out.ckpt: overlay(mixed, vae)
"""
    )
    expected = {name: x if x.dtype == torch.int64 else torch.lerp(x, b[name], 0.25) for name, x in a.items()}
    expected |= {f"first_stage_model.{name}": x for name, x in baked.items()}
    out = bench.load()
    close(out, expected)
    same(*(split(tensors, "first_stage_model.")[0] for tensors in (out, expected)))
    assert report.warnings == ()
    assert len(baked) == 248


def test_a_part_in_arithmetic_is_an_error_at_its_place(bench):
    bench.save(a=state(sd15(schedules=False), 1), vae=state(vae(), 3))
    assert bench.mistake(
        """
inputs:
  a: a.ckpt
  vae: {path: vae.ckpt, rename: {"": first_stage_model.}, part: true}
let:
  doubled: 2 * a - a
  mixed: 0.5 * doubled + 0.5 * vae
save:
  out.ckpt: mixed
"""
    ) == (
        "merge.yaml:7: let.mixed: `0.5 * (2 * a - a) + 0.5 * vae` needs the tensor "
        "`cond_stage_model.transformer.text_model.embeddings.position_embedding.weight` and 881 more, "
        "which the part `vae` lacks\n"
        '  hint: overlay(x, vae) has those of vae and the rest of x; only(x, "first_stage_model.*") is narrowed to the '
        "part"
    )
    bench.run(
        """
inputs:
  a: a.ckpt
  vae: {path: vae.ckpt, rename: {"": first_stage_model.}, part: true}
save:
  out.ckpt: lerp(only(a, "first_stage_model.*"), vae, 0.5)
"""
    )
    a, baked = bench.load("a"), {f"first_stage_model.{name}": x for name, x in bench.load("vae").items()}
    close(bench.load(), {name: torch.lerp(x, baked[name], 0.5) if name in baked else x for name, x in a.items()})


def test_a_forgotten_prefix_is_told_with_the_line_to_paste(bench):
    bench.save(a=state(sd15(schedules=False), 1), vae=state(vae(), 3))
    message = bench.mistake("inputs: {a: a.ckpt, vae: vae.ckpt}\nsave: {out.ckpt: 'overlay(a, vae)'}")
    assert message.startswith(
        "merge.yaml:1: inputs.vae: vae.ckpt: `vae` does not have the layout of `a` (1130 missing, 248 extra, 0 of "
        "another shape)\n    missing cond_stage_model.transformer.text_model.embeddings.position_embedding.weight\n"
    )
    assert message.endswith(
        '    and 1370 more\n  hint: add to the input: rename: {"": "first_stage_model."}, part: true'
    )


def test_layers_that_an_input_lacks(bench):
    deep, shallow = state(llama(layers=3), 1), state(llama(layers=2), 2)
    bench.save(deep=deep, shallow=shallow)
    text = "inputs: {a: deep.ckpt, b: shallow.ckpt}\nsave: {out.ckpt: 'lerp(a, b, 0.5)'}\n"
    way_out = "`except: model.layers.2.*`"
    assert way_out in bench.mistake(text)
    bench.run(text + "except: model.layers.2.*")
    close(bench.load(), {name: torch.lerp(x, shallow[name], 0.5) if name in shallow else x for name, x in deep.items()})
    del shallow["model.layers.0.mlp.up_proj.weight"], shallow["model.layers.0.mlp.down_proj.weight"]
    bench.save(deep={name: x for name, x in deep.items() if "layers.2." not in name}, shallow=shallow)
    assert "except" not in bench.mistake(text)


def test_pruned_against_full(bench):
    full, pruned = state(sd15(), 1), state(sd15(schedules=False), 2)
    del pruned["cond_stage_model.transformer.text_model.embeddings.position_ids"]
    bench.save(full=full, pruned=pruned)
    text = "inputs:\n  a: %s.ckpt\n  b: {path: %s.ckpt%s}\nsave: {out.ckpt: 'lerp(a, b, 0.5)'}"
    message = bench.mistake(text % ("full", "pruned", ""))
    assert message.startswith(
        "merge.yaml:3: inputs.b: pruned.ckpt: `b` does not have the layout of `a` (12 missing, 0 extra, 0 of another "
        "shape)\n    missing alphas_cumprod\n"
    )
    assert message.endswith(
        "    and 4 more\n  hint: `missing: template` takes what is missing from the template, "
        "`part: true` says that it is a part"
    )
    bench.run(text % ("full", "pruned", ", missing: template"))
    close(bench.load(), {n: torch.lerp(x, pruned[n], 0.5) if n in pruned else x for n, x in full.items()})
    assert bench.mistake(text % ("pruned", "full", "")).endswith("  hint: `extra: ignore` leaves out what is extra")
    bench.run(text % ("pruned", "full", ", extra: ignore"), force=True)
    close(bench.load(), {name: torch.lerp(x, full[name], 0.5) for name, x in pruned.items()})


def test_ties_of_attention_alone_trims_by_attention_alone(bench):
    base, a, b = (state(llama(), seed) for seed in (1, 2, 3))
    bench.save(base=base, a=a, b=b)
    report = bench.run(
        """
inputs: {base: base.ckpt, a: a.ckpt, b: b.ckpt}
let:
  attention: only(base, "*self_attn*")
  change: keep_largest(a - attention, density=0.25, scope="global")
show:
  - count(change)
save:
  out.ckpt: ties(attention, [a, b], densities=0.25)
"""
    )
    names = sorted(name for name in base if "self_attn" in name)
    flat = {name: torch.cat([tensors[n].flatten() for n in names]) for name, tensors in
            (("base", base), ("a", a), ("b", b))}  # fmt: skip
    size = len(flat["base"])
    trimmed = []
    for name in ("a", "b"):
        delta = flat[name] - flat["base"]
        kept = delta.abs().topk(size // 4).indices
        trimmed.append(torch.zeros(size).index_copy(0, kept, delta[kept]))
    elected = torch.sign(trimmed[0] + trimmed[1])
    voters = [(torch.sign(delta) == elected) & (delta != 0) for delta in trimmed]
    merged = sum(v * d for v, d in zip(voters, trimmed, strict=True)) / sum(v.int() for v in voters).clamp(min=1)
    pieces = dict(zip(names, (flat["base"] + merged).split([base[n].numel() for n in names]), strict=True))
    close(bench.load(), {n: pieces[n].view(x.shape) if n in pieces else x for n, x in base.items()})
    assert report.answers.shown[0][1] == size // 4


def test_heads_are_kept_per_task(bench):
    base, a, b = state(vit(classes=5), 1), state(vit(classes=3), 2), state(vit(classes=7), 3)
    bench.save(base=base, a=a, b=b)
    text = """
inputs: {base: base.ckpt, a: a.ckpt, b: b.ckpt}
let:
  merged: base + 0.4 * ((a - base) + (b - base))
save:
  task_a.ckpt: {value: merged, template: a}
  task_b.ckpt: {value: merged, template: b}
"""
    assert bench.mistake(text).startswith(
        "merge.yaml:2: inputs.base: base.ckpt: `base` does not have the layout of `a` (0 missing, 0 extra, 2 of "
        "another shape)\n"
        "    shape   head.bias: [5] here, [3] there\n"
        "    shape   head.weight: [5, 4] here, [3, 4] there\n"
        "  hint: tensors of another shape can be left out with `except:`"
    )
    bench.run(text + 'except: "head.*"\n')
    merged = {n: x + 0.4 * ((a[n] - x) + (b[n] - x)) for n, x in base.items() if not n.startswith("head.")}
    close(bench.load("task_a"), {**a, **merged})
    close(bench.load("task_b"), {**b, **merged})


def test_deltas_of_their_own_support_stack(bench):
    base = state(llama(), 1)
    attention, mlp = (
        {name: x for name, x in state(llama(), seed).items() if part in name}
        for seed, part in ((2, "self_attn"), (3, ".1.mlp."))
    )
    bench.save(base=base, attention=attention, mlp=mlp)
    text = """
inputs:
  base: base.ckpt
  attention: {path: attention.ckpt, kind: delta%s}
  mlp: {path: mlp.ckpt, kind: delta, part: true}
show:
  - density(mlp)
save:
  out.ckpt: base + 0.5 * attention - keep_largest(mlp, density=0.5, scope="global")
"""
    assert bench.mistake(text % "").endswith("  hint: `part: true` says that it may lack tensors: they are 0")
    report = bench.run(text % ", part: true")
    expected = {name: x + 0.5 * attention.get(name, 0 * x) for name, x in base.items()}
    whole = torch.cat([mlp[name].flatten() for name in sorted(mlp)])
    smallest = whole.abs().topk(len(whole) // 2).values.min()
    for name, x in mlp.items():
        expected[name] = expected[name] - torch.where(x.abs() >= smallest, x, 0)
    close(bench.load(), expected)
    assert report.answers.shown[0][1] == 1  # counted where it has tensors


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model."])
def test_a_wrapper_that_prefixes_all_names(bench, prefix):
    a, b = state(vit(), 1), state(vit(), 2)
    bench.save(a=a, b={f"{prefix}{name}": x for name, x in b.items()})
    text = "inputs:\n  a: a.ckpt\n  b: {path: b.ckpt%s}\nsave:\n  out.ckpt: %s"
    assert bench.mistake(text % ("", "lerp(a, b, 0.5)")).endswith(f'  hint: add to the input: strip: ["{prefix}"]')
    rules = f', strip: ["{prefix}"]'
    bench.run(text % (rules, "lerp(a, b, 0.5)"))
    close(bench.load(), {name: torch.lerp(x, b[name], 0.5) for name, x in a.items()})
    # As the template, a wrapped model keeps its own names.
    bench.run(text % (rules, "{value: 'lerp(a, b, 0.5)', template: b}"), force=True)
    close(bench.load(), {f"{prefix}{name}": torch.lerp(x, b[name], 0.5) for name, x in a.items()})


def test_renaming_by_regular_expression(bench):
    a = state(vit(), 1)
    other = {name.replace("blocks.", "layers_").replace(".attn.", ".attention."): x + 1 for name, x in a.items()}
    bench.save(a=a, b=other)
    bench.run(
        """
inputs:
  a: a.ckpt
  b: {path: b.ckpt, rename: {'re:^layers_(\\d+)\\.attention': 'blocks.\\1.attn', layers_: blocks.}}
save:
  out.ckpt: b - a + a
"""
    )
    close(bench.load(), {name: x + 1 for name, x in a.items()})


# --- rows

EMBEDDINGS = ("lm_head.weight", "model.embed_tokens.weight")
FIT = """
inputs: {base: base.ckpt, a: a.ckpt, b: b.ckpt}
show: ['count(a - base, scope="tensor")']
save:
  out.ckpt: {value: 'mean([base, a, b])', template: %s%s}
fit: {"*embed_tokens.weight": rows, lm_head.weight: rows}
"""


@pytest.mark.parametrize("template", ["base", "a", "b"])
@pytest.mark.parametrize(("dtype", "kind"), [("", torch.float32), (", dtype: float16", torch.float16)])
def test_rows_that_all_have_are_merged(bench, template, dtype, kind):
    states = {name: state(llama(vocabulary=rows), rows) for name, rows in (("base", 11), ("a", 13), ("b", 12))}
    bench.save(**states)
    report = bench.run(FIT % (template, dtype))
    expected = {}
    for name, x in states[template].items():
        cut = [tensors[name][:11] if name in EMBEDDINGS else tensors[name] for tensors in states.values()]
        mean = (cut[0] + cut[1] + cut[2]) / 3
        expected[name] = (torch.cat([mean, x[11:]]) if name in EMBEDDINGS else mean).to(kind)
    out = bench.load()
    close(out, expected)
    same(*({name: x[11:] for name, x in tensors.items() if name in EMBEDDINGS} for tensors in (out, expected)))
    assert report.answers.shown[0][1]["lm_head.weight"] == 11 * W
    assert report.warnings == tuple(
        f"merge.yaml:6: fit: of `{name}` the first 11 rows are merged and the others are the template's; that a row "
        "stands for the same token in all inputs is not checked"
        for name in EMBEDDINGS
    )


def test_rows_that_do_not_fit(bench):
    bench.save(a=state(llama(), 1), b={**state(llama(vocabulary=12), 2), "lm_head.weight": torch.zeros(12, 5)})
    text = "inputs: {a: a.ckpt, b: b.ckpt}\nsave: {out.ckpt: 'lerp(a, b, 0.5)'}\n"
    assert bench.mistake(text).endswith(
        "    shape   lm_head.weight: [12, 5] here, [11, 4] there\n"
        "    shape   model.embed_tokens.weight: [12, 4] here, [11, 4] there\n"
        "  hint: tensors of another shape can be left out with `except:`"
    )
    assert bench.mistake(text + "except: lm_head.weight").endswith(
        "  hint: tensors of another shape can be left out with `except:`, or merge their leading rows: "
        'fit: {"model.embed_tokens.weight": rows}'
    )
    assert bench.mistake(text + "fit: {'*embed*': rows, lm_head.weight: rows}") == (
        "merge.yaml:3: fit: `fit` takes rows, and `lm_head.weight` differs in more: [11, 4] and [12, 5]\n"
        "  hint: leave it out with `except:`"
    )
    assert bench.mistake(text + "fit: {'*embd_tokens.weight': rows}") == (
        "merge.yaml:3: fit: the pattern `*embd_tokens.weight` matches no tensor\n"
        "  hint: did you mean `model.embed_tokens.weight`?"
    )


def test_rows_of_the_template_that_overflow_the_output(bench):
    large = state(llama(vocabulary=12), 1)
    large["lm_head.weight"][11] = 1e6
    bench.save(a=large, b=state(llama(), 2))
    text = "inputs: {a: a.ckpt, b: b.ckpt}\nsave: {out.ckpt: {value: 'lerp(a, b, 0.5)', dtype: fp16}}\n"
    assert bench.mistake(text + 'fit: {"*": rows}') == (
        "rows of `lm_head.weight` that are not merged overflow in float16\n  hint: choose a wider `dtype:`"
    )
