"""What rules did to a real layout: the counts against a comparison of the files with torch."""

import torch

from tests.families import llama, sd15, state
from weightmath.effects import Effect, effects, rules
from weightmath.job import prepare
from weightmath.recipe import loads
from weightmath.running import run


def merged(tmp_path, shapes, let, same=()):
    """Run `mixed` of a and b, whose tensors in `same` are equal; the job, its effects, and the three state dicts."""
    a, b = (state(shapes, seed) for seed in (1, 2))
    b |= {name: a[name] for name in a if name.startswith(same)} if same else {}
    torch.save({"state_dict": a}, tmp_path / "a.ckpt")
    torch.save({"state_dict": b}, tmp_path / "b.ckpt")
    text = "inputs: {a: a.ckpt, b: b.ckpt}\nlet:\n" + let + "\nsave: {out.ckpt: mixed}"
    job = prepare(loads(text, "merge.yaml", tmp_path / "merge.yaml"))
    report = run(job)
    found = effects(job.plan, report.results.outcomes, {"out.ckpt": "a"})
    return job, found, a, b, torch.load(tmp_path / "out.ckpt", weights_only=True)["state_dict"]


def test_block_weights_of_a_whole_model(tmp_path):
    let = '  mixed: lerp(a, b, blocks("sd15", "BASE=0, M00=1", otherwise=0.5))'
    job, found, a, b, out = merged(tmp_path, sd15(schedules=False), let)
    assert [str(effect) for effect in found] == [
        "`blocks BASE, VAE (as BASE)=0` left 444 tensors equal to `a`",  # 196 and 248: position_ids are integers
        "`blocks M00=1` changed 46 tensors of `a`",
    ]
    kept = [name for name in a if torch.equal(a[name], out[name])]
    assert len(kept) == 445
    assert all(name.startswith(("cond_stage_model.", "first_stage_model.")) for name in kept)
    taken = [name for name in a if ".middle_block." in name]
    assert all(torch.allclose(out[name], b[name], rtol=0, atol=1e-6) for name in taken)
    table = {part.label: (len(part.tensors), part.number) for part in rules(job.plan)[0].parts}
    assert table["IN04"] == (38, 0.5)
    assert sum(count for count, _ in table.values()) == len(job.plan.layout)


def test_masks_and_their_complements(tmp_path):
    let = '  layers: layer(0, 1)\n  mixed: where(layers & match("*mlp*"), b, a)'
    _, found, *_ = merged(tmp_path, llama(), let)
    assert [str(effect) for effect in found] == [
        "`~layer(0, 1)` left 12 tensors equal to `a`",
        "`layer(0, 1)` left 12 of 18 tensors equal to `a`",
        "`~match('*mlp*')` left 21 tensors equal to `a`",
        "`match('*mlp*')` left 3 of 9 tensors equal to `a`",
    ]


def test_narrowing_is_a_rule_too(tmp_path):
    _, found, *_ = merged(tmp_path, llama(), '  mixed: a + only(b - a, "*mlp*") + without(b - a, "*norm*", "*mlp*")')
    assert {str(effect) for effect in found} == {
        "`without('*mlp*')` left 7 of 21 tensors equal to `a`",
        "`only('*mlp*')` changed 9 tensors of `a`",
        "`only('*norm*', '*mlp*')` left 7 of 16 tensors equal to `a`",
        "`without('*norm*', '*mlp*')` changed 14 tensors of `a`",
    }


def test_a_merge_of_equal_tensors_is_seen(tmp_path):
    same = ("model.layers.2.",)
    _, found, *_ = merged(tmp_path, llama(), "  mixed: lerp(a, b, ramp(0, 1))", same)
    assert [str(effect) for effect in found] == [
        "`ramp layer 0=0` left 9 tensors equal to `a`",
        "`ramp layer 2=1` left 9 tensors equal to `a`",
    ]


def test_numbers_in_between_make_no_claim(tmp_path):
    job, found, *_ = merged(tmp_path, llama(), "  mixed: lerp(a, b, ramp(0.25, 0.5))")
    assert found == ()
    assert [one.rule for one in rules(job.plan)] == ["ramp(0.25, 0.5)"]


def test_one_tensor_is_counted_as_one():
    assert str(Effect("out", "a", "blocks M00=0", 1, 1)) == "`blocks M00=0` left 1 tensor equal to `a`"
