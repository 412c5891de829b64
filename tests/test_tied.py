"""Tied weights: one storage under two names stays one storage, and cannot be given two values."""

import pytest
import torch

from tests.families import llama, state
from tests.merging import Bench, close

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


def test_noise_of_two_names_is_refused_too(bench):
    assert "are two names of one storage" in bench.mistake(RECIPE % "a + 0.01 * gaussian(seed=1)")


def test_untied_inputs_are_merged_into_a_tied_template(bench):
    b = state(llama(), 3)
    bench.save(b=b)
    assert "are two names of one storage" in bench.mistake(RECIPE % "lerp(a, b, 0.5)")
