"""What mergekit ignores, fails on later, or does and weightmath does not: one message each, with line and way out."""

import pytest

from weightmath.errors import RecipeError
from weightmath.mergekit import imported
from weightmath.mergekit.methods import METHODS

TIES = """\
merge_method: ties
base_model: base
models:
  - model: a
    parameters: {weight: 1, density: 0.5}
"""
SLICES = """\
merge_method: slerp
base_model: a
parameters: {t: 0.5}
slices:
  - sources:
      - {model: a, layer_range: [0, 8]}
      - {model: b, layer_range: [0, 8]}
"""


def mistake(text):
    with pytest.raises(RecipeError) as caught:
        imported(text, "c.yml")
    return str(caught.value)


def test_a_recipe_of_our_own_needs_no_import():
    assert mistake("inputs: {a: a.ckpt}\nsave: {o.ckpt: a}\n") == (
        "c.yml:1: inputs: `inputs` is a key of weightmath's own recipes, and this is one\n"
        "  hint: as it is: weightmath plan c.yml"
    )


# What is changed in a configuration that is right, and the message.
UNKNOWN = [
    ("dtpye: float16", "c.yml:6: dtpye: mergekit has no key `dtpye` here\n  hint: did you mean `dtype`?"),
    (
        "random_seed: 1",
        "c.yml:6: random_seed: mergekit has no key `random_seed` here\n  hint: mergekit ignores it: take it out",
    ),
    (
        "normalize: true",
        "c.yml:6: normalize: mergekit has no key `normalize` here\n  hint: it belongs below `parameters:`",
    ),
    (
        "parameters: {normalise: true}",
        "c.yml:6: parameters.normalise: mergekit has no parameter `normalise`\n  hint: did you mean `normalize`?",
    ),
    ("dtype: float61", "c.yml:6: dtype: mergekit has no dtype `float61`\n  hint: did you mean `float64`?"),
    ("dtype: int64", "c.yml:6: dtype: mergekit has no dtype `int64`\n  hint: float32 float16 bfloat16 float64"),
    (
        "merge_method: dare",
        "c.yml:6: `merge_method` is given twice, first in line 1\n  hint: keep one; mergekit takes the last",
    ),
    (
        "parameters: {lambda: [{filter: mlp, vaule: 1}]}",
        "c.yml:6: parameters.lambda[0].vaule: unknown key `vaule`\n  hint: did you mean `value`?",
    ),
    ("parameters: {lambda: [{filter: mlp}]}", "c.yml:6: parameters.lambda[0]: the rule has no `value`"),
    ("parameters: {lambda: []}", "c.yml:6: parameters.lambda: the gradient is empty"),
    ("parameters: {lambda: much}", "c.yml:6: parameters.lambda: `much` is not a number"),
    ("parameters: {lambda: .nan}", "c.yml:6: parameters.lambda: `nan` is not a number"),
    ("parameters: [1]", "c.yml:6: parameters: `parameters` is a mapping"),
    (
        "parameters: {normalize: [{filter: mlp, value: 1}, {value: 0}]}",
        "c.yml:1: merge_method: `normalize` is one truth value for all tensors",
    ),
    ("slices: [{sources: []}]", "c.yml:1: a merge has `models` or `slices`, and this has both"),
    ("parameters: {<<: {a: 1}}", "c.yml:6: `<<` is not read\n  hint: write its entries out"),
    (
        "tokenizer: {source: union, tokens: {x: {source: a}}}",
        "c.yml:6: tokenizer.tokens: `tokens` is not imported: it makes rows of the embedding that no model has\n"
        "  hint: merge with mergekit where tokens are added or moved",
    ),
    (
        "modules: {text: {}}",
        "c.yml:6: modules: `modules` is not imported: merges of single modules of a model are not imported; "
        "`only:` of a recipe narrows it to some tensors",
    ),
]


@pytest.mark.parametrize(("line", "message"), UNKNOWN)
def test_a_line_too_much(line, message):
    assert mistake(f"{TIES}{line}\n") == message


CHANGED = [
    (
        TIES,
        "merge_method: ties",
        "merge_method: tise",
        "c.yml:1: merge_method: mergekit has no method `tise`\n  hint: did you mean `ties`?",
    ),
    (TIES, "base_model: base\n", "", "c.yml:1: merge_method: `ties` needs a `base_model`"),
    (
        TIES,
        "{weight: 1, density: 0.5}",
        "{density: 0.5}",
        "c.yml:4: models[0]: `ties` needs the parameter `weight` of `a`",
    ),
    (
        TIES,
        "{weight: 1, density: 0.5}",
        "{wieght: 1}",
        "c.yml:5: models[0].parameters.wieght: mergekit has no parameter `wieght`\n  hint: did you mean `weight`?",
    ),
    (
        TIES,
        "    parameters: {weight: 1, density: 0.5}",
        "    weight: 1",
        "c.yml:5: models[0].weight: mergekit has no key `weight` here\n  hint: it belongs below `parameters:`",
    ),
    (
        TIES,
        "model: a",
        "modle: a",
        "c.yml:4: models[0].modle: mergekit has no key `modle` here\n  hint: did you mean `model`?",
    ),
    (
        TIES,
        "model: a",
        "model: base",
        "c.yml:1: merge_method: `ties` takes at least one model besides the base, and there are 0",
    ),
    (
        TIES,
        "model: a",
        "model: a+adapter",
        "c.yml:4: models[0].model: the adapter `adapter` is not imported\n"
        "  hint: bake it in, and name the result: weightmath delta from-lora adapter a -o skill.delta; "
        "weightmath delta apply a skill.delta -o MODEL/",
    ),
    (TIES, "model: a", "model: [a]", "c.yml:4: models[0].model: this is no model: a path or a name"),
    (
        TIES,
        "  - model: a",
        "  - model: a\n    parameters: {weight: 1}\n  - model: a",
        "c.yml:4: models[0]: `a` is listed twice",
    ),
    (
        TIES,
        "models:",
        "models: []\nmodel:",
        "c.yml:4: model: mergekit has no key `model` here\n  hint: did you mean `models`?",
    ),
    (TIES, "ties\n", "slerp\n", "c.yml:1: merge_method: `slerp` needs the parameter `t`"),
    (
        SLICES,
        "model: b, layer_range: [0, 8]",
        "model: b, layer_range: [8, 16]",
        "c.yml:5: slices[0]: the sources have different layers, and weightmath merges each layer with its like",
    ),
    (
        SLICES,
        "[0, 8]",
        "[2, 8]",
        "c.yml:5: slices[0]: the slices restack layers: number 0 of the output would be 2 of its model\n"
        "  hint: a recipe keeps the layers of its template; mergekit makes models of other depths",
    ),
    (
        SLICES,
        "[0, 8]",
        "[0]",
        "c.yml:6: slices[0].sources[0].layer_range: `layer_range` is a list of two layers: [0, 32]",
    ),
    (SLICES, "[0, 8]", "[8, 8]", "c.yml:6: slices[0].sources[0].layer_range: the layers 8 to 7 are none"),
    (SLICES, "base_model: a", "base_model: c", "c.yml:5: slices[0]: `c` is the base, and none of the sources"),
]


@pytest.mark.parametrize(("text", "old", "new", "message"), CHANGED)
def test_a_line_changed(text, old, new, message):
    assert old in text
    assert mistake(text.replace(old, new)) == message


WHOLE = [
    ("", "c.yml: the configuration is empty"),
    ("--- \n---\n", "c.yml: the configuration is empty"),
    ("- a", "c.yml:1: a configuration of mergekit is a mapping, and this is none\n  hint: it has `merge_method:`"),
    (
        "a: b: c",
        "c.yml:1:5: YAML finds a second `key: value` here\n  a: b: c\n      ^\n  hint: quote a value that holds a "
        "colon and a space; else look for a missing colon or a wrong indent just above",
    ),
    ("models: [{model: a}]", f"c.yml:1: `merge_method` is missing\n  hint: one of: {' '.join(METHODS)}"),
    (
        "base_model: a\ngate_mode: hidden\nexperts: []",
        "c.yml:3: experts: `experts` is not imported: a mixture of experts has layers that none of its models has, and "
        "a recipe has one layout",
    ),
    (
        "merge_method: passthrough\nmodels: [{model: a}, {model: b}]",
        "c.yml:1: merge_method: `passthrough` takes at most one model, and there are 2",
    ),
    (
        "merge_method: dare_ties\nbase_model: o\nmodels: [{model: a, parameters: {weight: 1, density: 0}}]",
        "c.yml:1: merge_method: density 0 leaves nothing of `a`\n  hint: take the model out of the configuration",
    ),
    (
        "merge_method: nuslerp\nmodels: [{model: a}, {model: b}]\n"
        "parameters: {weight: 1, nuslerp_flatten: false, nuslerp_row_wise: true}",
        "c.yml:1: merge_method: `nuslerp_row_wise: true` goes by column, and weightmath has no such scope\n  hint: "
        "`nuslerp_row_wise: false` goes by row, against its name; `nuslerp_flatten: true` takes whole tensors",
    ),
    (
        "name: x\nmerge_method: karcher\nmodels: [{model: y}]\n---\n"
        "name: y\nmerge_method: karcher\nmodels: [{model: x}]",
        "c.yml:1: the merges need each other in a circle: x -> y -> x",
    ),
    (
        "merge_method: karcher\nmodels: [{model: y}]\n---\nmerge_method: karcher\nmodels: [{model: x}]",
        "c.yml:4: two merges have no name\n  hint: give each its own `name:`",
    ),
    (
        SLICES.replace("[0, 8]", "[0, 4]")
        + "  - sources: [{model: a, layer_range: [4, 8]}, {model: b, layer_range: [4, 8]}]\n"
        + "    parameters: {t: [0, 1]}\n",
        "c.yml:1: merge_method: gradients within one of several slices are not imported\n  hint: a number per slice is",
    ),
]


@pytest.mark.parametrize(("text", "message"), WHOLE)
def test_a_whole_configuration(text, message):
    assert mistake(text) == message


def test_what_only_mergekit_rescales():
    text = TIES.replace("density: 0.5", "density: 0.5, rescale: 1").replace(
        "models:", "parameters: {rescale: true}\nmodels:"
    )
    with pytest.raises(RecipeError) as caught:
        imported(text, "c.yml", like=True)
    message = (
        "c.yml:1: merge_method: `rescale: true` has no counterpart in this method\n  hint: leave out --like mergekit"
    )
    assert str(caught.value) == message
    assert "rescale: true" in imported(text, "c.yml").differences[1].what
