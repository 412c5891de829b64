"""Two models in one file: either is an input, both merge in one run, and a copy that stays old is told."""

import pytest
import torch

import weightmath as wm
from tests.families import sd15, state, vit
from tests.merging import Bench, close, same

DECAY = {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(7, dtype=torch.int32)}


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def stable_diffusion(seed):
    """A file with both: raw weights, and LitEma's copy of the network under names without dots."""
    raw, averaged = state(sd15(), seed), state(sd15(), seed + 100)
    network = [name for name in raw if name.startswith("model.")]
    return raw | {f"model_ema.{litema(name)}": averaged[name] for name in network} | DECAY


def litema(name):
    return name.removeprefix("model.").replace(".", "")


def test_either_of_two_sections_is_the_model(bench):
    raw, ema, other = (state(vit(), seed) for seed in (1, 2, 3))
    bench.save(timm={"state_dict": raw, "state_dict_ema": ema, "epoch": 3}, other=other)
    text = """
inputs:
  a: {path: timm.ckpt%s}
  b: other.ckpt
save:
  out.ckpt: {value: 'lerp(a, b, 0.5)'%s}
"""
    report = bench.run(text % ("", ""))
    close(bench.load(), {name: torch.lerp(x, other[name], 0.5) for name, x in raw.items()})
    same(bench.load(section="state_dict_ema"), ema)
    assert report.warnings == (
        "merge.yaml:6: save.out.ckpt: `state_dict_ema` in timm.ckpt holds the same names and stays the OLD model; "
        'leave it out with drop: "state_dict_ema", or merge it as an input with section: "state_dict_ema"',
    )
    report = bench.run(text % (", section: state_dict_ema", ""), force=True)
    close(bench.load(section="state_dict_ema"), {name: torch.lerp(x, other[name], 0.5) for name, x in ema.items()})
    same(bench.load(), raw)
    assert "`state_dict` in timm.ckpt holds the same names and stays the OLD model" in report.warnings[0]
    for wish in (", drop: state_dict_ema", ", keep: weights", ", drop: 'state_dict_ema*'"):
        assert bench.run(text % ("", wish), force=True).warnings == ()
        assert "state_dict_ema" not in bench.load(section=None)
    (warning,) = bench.run((text % ("", "")).replace("out.ckpt", "out.safetensors")).warnings
    assert "without `state_dict_ema`, `epoch` of timm.ckpt;" in warning


def test_both_sections_merge_in_one_run(bench):
    for name, seed in (("a", 1), ("b", 3)):
        bench.save(**{name: {"state_dict": state(vit(), seed), "state_dict_ema": state(vit(), seed + 1)}})
    bench.run(
        """
inputs:
  a: a.ckpt
  b: b.ckpt
  a_ema: {path: a.ckpt, section: state_dict_ema}
  b_ema: {path: b.ckpt, section: state_dict_ema}
params:
  t: 0.3
save:
  raw.ckpt: {value: 'lerp(a, b, t)', drop: state_dict_ema}
  ema.ckpt: {value: 'lerp(a_ema, b_ema, t)', template: a_ema, drop: state_dict}
"""
    )
    for out, section in (("raw", "state_dict"), ("ema", "state_dict_ema")):
        a, b = (bench.load(name, section) for name in ("a", "b"))
        assert list(bench.load(out, None)) == [section]
        close(bench.load(out, section), {name: torch.lerp(x, b[name], 0.3) for name, x in a.items()})


def test_names_without_dots_are_restored(bench):
    file = stable_diffusion(1)
    bench.save(sd=file)
    report = bench.run(
        """
inputs:
  raw: sd.ckpt
  ema: {path: sd.ckpt, section: model_ema., names: litema, part: true}
save:
  out.ckpt: {value: 'overlay(raw, ema)', drop: 'state_dict.model_ema.*'}
"""
    )
    expected = {name: file.get(f"model_ema.{litema(name)}", x) if name.startswith("model.") else x
                for name, x in file.items() if not name.startswith("model_ema.")}  # fmt: skip
    same(bench.load(), expected)
    assert report.warnings == ()
    assert report.job.copied == {}
    assert report.job.saves[0].copied == ("cond_stage_model.transformer.text_model.embeddings.position_ids",)
    assert sum(not torch.equal(expected[name], file[name]) for name in expected) == 686


def test_what_is_merged_cannot_be_dropped_whole(bench):
    bench.save(sd=stable_diffusion(1))
    text = "inputs: {a: sd.ckpt}\nsave: {out.ckpt: {value: a, drop: %s}}"
    assert bench.mistake(text % "'state_d*'") == (
        "merge.yaml:2: save.out.ckpt: sd.ckpt: `drop: state_d*` matches `state_dict`, which holds the merged tensors"
    )
    assert bench.mistake(text % "'state_dict.model_em.*'").startswith(
        "merge.yaml:2: save.out.ckpt: sd.ckpt: `drop: state_dict.model_em.*` matches nothing in the template\n  hint: "
    )
    assert bench.mistake(text % "'model_ema.*'").endswith(
        'matches nothing in the template\n  hint: entries are named from the top: drop: "state_dict.model_ema.*"'
    )


def test_dropped_tensors_are_in_no_scope_and_may_differ(bench):
    full, pruned = stable_diffusion(1), state(sd15(), 2)
    bench.save(full=full, pruned=pruned)
    report = bench.run(
        "inputs: {a: full.ckpt, b: pruned.ckpt}\nshow: ['count(a == a)']\n"
        "save: {out.ckpt: {value: 'lerp(a, b, 0.5)', drop: 'state_dict.model_ema.*'}}"
    )
    assert report.answers.shown[0][1] == sum(x.numel() for x in pruned.values() if x.is_floating_point())
    close(bench.load(), {n: torch.lerp(full[n], x, 0.5) if x.is_floating_point() else x for n, x in pruned.items()})


def test_tensors_that_one_output_drops_stay_in_the_others(bench):
    bench.save(a=stable_diffusion(1))
    bench.run("inputs: {a: a.ckpt}\nsave: {x.ckpt: 2 * a - a, y.ckpt: {value: a, drop: 'state_dict.model_ema.*'}}")
    assert len(bench.load("x")) - len(bench.load("y")) == 688


def test_tensors_that_one_output_drops_and_another_merges(bench):
    a, b = stable_diffusion(1), stable_diffusion(2)
    bench.save(a=a, b=b)
    report = bench.run("""
inputs: {a: a.ckpt, b: b.ckpt}
save:
  x.ckpt: lerp(a, b, 0.5)
  y.ckpt: {value: 'lerp(a, b, 0.25)', drop: 'state_dict.model_ema.*'}
""")
    names = [name for name in a if not name.startswith("model_ema.")]
    close(
        bench.load("y"),
        {name: torch.lerp(a[name], b[name], 0.25) if a[name].is_floating_point() else a[name] for name in names},
    )
    assert bench.load("x").keys() == a.keys()
    assert report.warnings == ()


def test_an_overlay_that_leaves_the_copy_is_told(bench):
    bench.save(sd=stable_diffusion(1))
    job = bench.plan(
        """
inputs:
  raw: sd.ckpt
  ema: {path: sd.ckpt, section: "state_dict.model_ema.", names: litema, part: true}
save:
  out.ckpt: overlay(raw, ema)
"""
    )
    assert job.warnings == (
        "merge.yaml:6: save.out.ckpt: `model_ema.` in sd.ckpt holds the same names and stays the OLD model; leave it "
        'out with drop: "state_dict.model_ema.*", or merge it as an input with section: "model_ema."',
    )


def test_a_copy_inside_the_section_merges_with_it(bench):
    a, b = stable_diffusion(1), stable_diffusion(2)
    bench.save(a=a, b=b)
    report = bench.run("inputs: {a: a.ckpt, b: b.ckpt}\nsave: {out.ckpt: 'lerp(a, b, 0.5)'}")
    mixed = {name: torch.lerp(x, b[name], 0.5) if x.is_floating_point() else x for name, x in a.items()}
    close(bench.load(), mixed)
    assert report.warnings == ()
    report = bench.run(
        "inputs: {a: a.ckpt, b: b.ckpt}\nsave: {out.ckpt: 'lerp(a, b, 0.5)'}\nexcept: model_ema.*", force=True
    )
    assert len(report.warnings) == 1
    assert "`model_ema.` in a.ckpt holds the same names and stays the OLD model" in report.warnings[0]


def test_a_copy_that_an_input_lacks_can_be_left_out_as_the_message_says(bench):
    bench.save(full=stable_diffusion(1), pruned=state(sd15(), 2))
    text = "inputs: {a: full.ckpt, b: pruned.ckpt}\nsave: {out.ckpt: 'lerp(a, b, 0.5)'}\n"
    hint = bench.mistake(text).partition("  hint: ")[2]
    assert hint.endswith("; `except: model_ema.*` leaves all of these out of the merge")
    (warning,) = bench.run(text + "except: model_ema.*").warnings
    assert 'stays the OLD model; leave it out with drop: "state_dict.model_ema.*"' in warning


def test_a_copy_that_only_the_template_has_stays_old(bench):
    full = stable_diffusion(1)
    bench.save(full=full, b=state(sd15(), 2), c=state(sd15(), 3), ema=stable_diffusion(4))
    lacking = ", ".join(f"{name}: {{path: {name}.ckpt, missing: template}}" for name in "bc")
    text = f"inputs: {{full: full.ckpt, {lacking}, ema: ema.ckpt}}\nshow: norm(ema)\nsave: {{out.ckpt: %s}}"
    report = bench.run(text % "full + 0.5 * (b - c)")
    assert all(torch.equal(x, full[name]) for name, x in bench.load().items() if name.startswith("model_ema."))
    assert ["`model_ema.` in full.ckpt holds the same names" in warning for warning in report.warnings] == [True]
    assert bench.plan(text % "'mean([full, b, c, ema])'").warnings == ()


def test_a_prefix_as_the_template_leaves_its_twin_behind(bench):
    model = state(vit(), 1)
    both = {f"model.{name}": x for name, x in model.items()} | {f"ema_model.{name}": x + 1 for name, x in model.items()}
    bench.save(both=both, other=state(vit(), 2))
    text = """
inputs:
  a: {path: both.ckpt, section: ema_model.}
  b: other.ckpt
save:
  out.ckpt: {value: 'lerp(a, b, 0.5)'%s}
"""
    report = bench.run(text % "")
    other, out = bench.load("other"), bench.load()
    merged = {f"ema_model.{name}": torch.lerp(x + 1, other[name], 0.5) for name, x in model.items()}
    close(out, {**both, **merged})
    assert report.warnings == (
        "merge.yaml:6: save.out.ckpt: `model.` in both.ckpt holds the same names and stays the OLD model; leave it out "
        'with drop: "state_dict.model.*", or merge it as an input with section: "model."',
    )
    assert bench.run(text % ", drop: 'state_dict.model.*'", force=True).warnings == ()
    close(bench.load(), merged)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            "section: model_em.",
            "sd.ckpt: no tensor of section `state_dict` begins with `model_em.`\n  hint: did you mean `model_ema.`?",
        ),
        (
            "section: state_dict_ema",
            "sd.ckpt: has no section `state_dict_ema`\n  hint: did you mean `state_dict`?; there are: state_dict",
        ),
        (
            "section: first_stage_model., names: litema, part: true",
            "`encodernormoutweight` is no name of a tensor beside it without its dots",
        ),
        ("strip: mdel.", "`mdel.` is the beginning of no tensor's name\n  hint: did you mean `model.`?"),
        (
            "strip: [first_stage_model., encoder]",
            "`encoder` is the beginning of no tensor's name\n"
            '  hint: of each name one beginning is removed: strip: ["first_stage_model.encoder"]',
        ),
        ("rename: {'re:^modl': x}", "`re:^modl` matches no tensor's name"),
        (
            "strip: [model., first_stage_model., model_ema.], rename: {'re:^.*betas$': betas}",
            "`x` and `y` both get the name `betas`\n  hint: make `strip` and `rename` tell them apart",
        ),
    ],
)
def test_mistakes(bench, given, expected):
    tensor = torch.zeros(1)
    names = ["betas", "model.betas", "model_ema.betas", "first_stage_model.encodernormoutweight", "model.other"]
    bench.save(sd=dict.fromkeys(names, tensor))
    message = bench.mistake(f"inputs: {{a: {{path: sd.ckpt, {given}}}}}\nsave: {{out.ckpt: a}}")
    assert message.replace("`betas` and `model.betas`", "`x` and `y`") == f"merge.yaml:1: inputs.a: {expected}"


class Sharded(torch.Tensor):
    """As DTensor is one: torch rebuilds it by a class of its own."""


@pytest.mark.parametrize("special", [torch.eye(3).to_sparse(), torch.eye(3).as_subclass(Sharded)])
def test_tensors_that_are_not_plain_are_told(bench, special):
    contents = {name: {"w": torch.rand(3), "s": special} for name in ("a", "b")}
    bench.save(**{name: {"state_dict": content, "epoch": 1} for name, content in contents.items()})
    report = bench.run("inputs: {a: a.ckpt, b: b.ckpt}\nsave: {out.ckpt: a + 2 * (b - a)}")
    assert report.warnings == (
        "`s`: no plain tensors, but weights that are quantized, packed, sparse or of a class of their own, so they "
        "stay the template's",
    )
    without = "inputs: {a: a.ckpt, b: b.ckpt}\nsave: {out2.ckpt: {value: b, template: a, drop: state_dict.s}}"
    assert bench.run(without).warnings == ()
    *_, told = bench.run("inputs: {a: a.ckpt, b: b.ckpt}\nsave: {out.safetensors: a + 2 * (b - a)}").warnings
    assert told.endswith("of a class of their own, which this container has no place for")
    kept = torch.load(bench.folder / "out.ckpt", weights_only=False)["state_dict"]["s"]
    assert torch.equal(kept.to_dense() if kept.is_sparse else kept, torch.eye(3))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_weights_that_quantized_modules_pack_are_told(bench):
    model = torch.nn.ModuleDict(
        {"lin": torch.nn.Linear(3, 2), "rnn": torch.nn.LSTM(2, 2), "norm": torch.nn.LayerNorm(2)}
    )
    packed = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear, torch.nn.LSTM})
    bench.save(a={"state_dict": packed.state_dict(), "optimizer": {"m": (torch.zeros(2).to_sparse(),)}})
    names = ("lin._packed_params._packed_params", "rnn._all_weight_values.0.param")
    assert wm.inspect(bench.folder / "a.ckpt").not_plain == names
    warning = bench.run("inputs: {a: a.ckpt}\nsave: {out.ckpt: a}").warnings[0]
    assert warning.startswith(", ".join(f"`{name}`" for name in names) + ": no plain tensors")
