"""Tied weights: one storage under two names stays one storage, and cannot be given two values."""

import pytest
import torch
from safetensors.torch import load_file

from tests.families import llama, state
from tests.merging import Bench, close, same
from weightmath.reports.run import run_report

NAMES = ("lm_head.weight", "model.embed_tokens.weight")
RECIPE = """
inputs: {a: a.ckpt, b: b.ckpt}
let:
  mixed: %s
save: {out.ckpt: mixed}
"""


def tied(seed):
    tensors = state(llama(), seed)
    tensors[NAMES[0]] = tensors[NAMES[1]]
    return tensors


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    made.save(a=tied(1), b=tied(2))
    return made


def test_they_stay_tied(bench):
    bench.run(RECIPE % "lerp(a, b, 0.25)" + "provenance: none\n")
    out, a, b = (bench.load(name) for name in ("out", "a", "b"))
    close(out, {name: torch.lerp(x, b[name], 0.25) for name, x in a.items()})
    assert len({out[name].untyped_storage().data_ptr() for name in NAMES}) == 1
    sizes = [(bench.folder / f"{name}.ckpt").stat().st_size for name in ("out", "a")]
    assert sizes[0] <= sizes[1] + 200


def test_values_that_differ_are_refused(bench):
    assert bench.mistake(RECIPE % 'lerp(a, b, where(match("lm_head*"), 0.5, 0.25))') == (
        "out.ckpt: `model.embed_tokens.weight` and `lm_head.weight` are two names of one storage, and the recipe gives "
        "them different values\n"
        '  hint: give both the same numbers, or leave one out of the output: drop: "*lm_head.weight"'
    )


def test_one_of_them_can_be_left_out(bench):
    text = RECIPE % 'lerp(a, b, where(match("lm_head*"), 0.5, 0.25))'
    bench.run(text.replace("{out.ckpt: mixed}", '{out.ckpt: {value: mixed, drop: "*lm_head.weight"}}'))
    a, b = bench.load("a"), bench.load("b")
    close(bench.load(), {name: torch.lerp(x, b[name], 0.25) for name, x in a.items() if name != "lm_head.weight"})


def test_one_of_them_cannot_be_kept(bench):
    assert bench.mistake(RECIPE % "lerp(a, b, 0.5)" + "except: lm_head.weight") == (
        "merge.yaml:5: save.out.ckpt: a.ckpt: `state_dict.model.embed_tokens.weight` and `state_dict.lm_head.weight` "
        "share elements, and not both are computed as one\n"
        "  hint: merge both or neither, or leave one out of the output: `drop: state_dict.lm_head.weight`"
    )


@pytest.mark.parametrize(
    "formula",
    [
        "a + 0.01 * gaussian(seed=1)",
        "dare(a, [b], densities=0.5, seed=1)",
        "ties(a, [b], densities=0.333)",
        "a + keep_largest(b - a, density=0.1, scope='tensor')",
    ],
)
def test_what_draws_by_name_or_cuts_between_equals_is_computed_once(bench, formula):
    report = run_report(bench.run(RECIPE % formula), 0.0)
    out = bench.load()
    assert report.outputs[0].merged == len(out) - 1
    assert len({out[name].untyped_storage().data_ptr() for name in NAMES}) == 1
    bench.save(**{name: {n: x.clone() for n, x in bench.load(name).items()} for name in ("a", "b")})
    bench.run(RECIPE % formula, force=True)
    apart = bench.load()
    same({n: x for n, x in out.items() if n not in NAMES}, {n: x for n, x in apart.items() if n not in NAMES})
    assert any(torch.equal(out[NAMES[0]], apart[name]) for name in NAMES)


def test_a_container_without_shared_storages_has_them_computed_once_too(bench):
    bench.run((RECIPE % "a + 0.01 * gaussian(seed=1)").replace("out.ckpt", "out.safetensors"))
    assert set(load_file(bench.folder / "out.safetensors")) & set(NAMES)


@pytest.mark.parametrize("names", ["", "except: [lm_head.weight, model.embed_tokens.weight]\n"])
@pytest.mark.parametrize("output", ["out.safetensors", "out/"])
def test_the_name_that_safetensors_has_no_place_for_is_told(bench, output, names):
    report = bench.run((RECIPE % "lerp(a, b, 0.5)" + names).replace("out.ckpt", output))
    held = load_file(bench.folder / output / "model.safetensors" if output == "out/" else bench.folder / output)
    stored, left_out = NAMES if NAMES[0] in held else NAMES[::-1]
    assert left_out not in held
    (warning,) = [warning for warning in report.warnings if "tied" in warning]
    assert warning == (
        f"merge.yaml:5: save.{output}: tied tensors are stored once, as safetensors asks, and the metadata says so: "
        f"`{left_out}` is left out, and is `{stored}`"
    )
    again = f"inputs: {{a: {output}, b: b.ckpt}}\nsave: {{again.safetensors: (a + b) / 2}}\n"
    assert not any("tied" in warning for warning in bench.run(again).warnings)


def test_noise_that_a_formula_gives_one_of_them_is_refused(bench):
    formula = 'a + where(match("lm_head*"), 0.5, 0.25) * gaussian(seed=1)'
    assert "are two names of one storage" in bench.mistake(RECIPE % formula)


def test_untied_inputs_are_merged_into_a_tied_template(bench):
    b = state(llama(), 3)
    bench.save(b=b)
    assert "are two names of one storage" in bench.mistake(RECIPE % "lerp(a, b, 0.5)")


def test_a_head_that_only_the_template_has(bench):
    a, b = (state(llama(), seed) for seed in (1, 2))
    head = b.pop("lm_head.weight")
    b["model.embed_tokens.weight"] = head
    bench.save(a=a, b=b)
    text = "inputs:\n  a: a.ckpt\n  b: {path: b.ckpt, %s}\n%ssave: {out.ckpt: '(a + %s) / 2'}\n"
    (warning,) = bench.run(text % ("missing: template", "", "b")).warnings
    assert torch.equal(bench.load()["lm_head.weight"], a["lm_head.weight"])
    assert warning.startswith("merge.yaml:3: inputs.b: `b` lacks `lm_head.weight` and takes the template's; where its")
    options = warning.partition("an input `head` with ")[2].partition(", say `part: true` of `b` instead")[0]
    formula = warning.partition(", and write ")[2]
    report = bench.run(text % ("part: true", f"  head: {{path: b.ckpt, {options}}}\n", formula), force=True)
    assert report.warnings == ()
    close(bench.load(), {name: (x + {**b, "lm_head.weight": head}[name]) / 2 for name, x in a.items()})
