"""What imported recipes look like, and that they compute what they say."""

import pytest
import torch

from tests.families import llama, state
from tests.merging import Bench, close
from weightmath.mergekit import imported
from weightmath.mergekit.naming import identifier, path_of
from weightmath.recipe import loads

# The first example of mergekit's own documentation that has gradients and filters.
TIES = """\
models:
  - model: psmathur/orca_mini_v3_13b
    parameters:
      density: [1, 0.7, 0.1] # density gradient
      weight: 1.0
  - model: garage-bAInd/Platypus2-13B
    parameters:
      density: 0.5
      weight: [0, 0.3, 0.7, 1] # weight gradient
  - model: WizardLM/WizardMath-13B-V1.0
    parameters:
      density: 0.33
      weight:
        - filter: mlp
          value: 0.5
        - value: 0
merge_method: ties
base_model: TheBloke/Llama-2-13B-fp16
parameters:
  normalize: true
  int8_mask: true
dtype: float16
"""
TIES_RECIPE = """\
# Imported from mergekit's ties.yml. Comments say where mergekit computes something else.
# Left out: int8_mask; it saves mergekit memory, and does not change the result.
inputs:
  base: hf:TheBloke/Llama-2-13B-fp16
  orca_mini_v3_13b: hf:psmathur/orca_mini_v3_13b
  platypus2_13b: hf:garage-bAInd/Platypus2-13B
  wizardmath_13b_v1_0: hf:WizardLM/WizardMath-13B-V1.0
params:
  wizardmath_13b_v1_0_weight:
    "*mlp*": 0.5
    "*": 0
let:
  # Densities that differ between tensors are counted in each of them, as mergekit does: scope="tensor".
  # Where weighted task vectors cancel exactly, mergekit takes the positive elements, weightmath none.
  merged: ties(base, [orca_mini_v3_13b, platypus2_13b, wizardmath_13b_v1_0], weights=[1, ramp(0, 0.3, 0.7, 1,
    otherwise=0), wizardmath_13b_v1_0_weight], densities=[ramp(1, 0.7, 0.1, otherwise=1), 0.5, 0.33], scope="tensor",
    normalize="weights")
# mergekit rounds the models to float16 and computes in it; here it is float32, rounded once.
dtype: float16
save:
  merged/: merged
"""


def test_a_recipe_as_a_person_would_have_written_it():
    assert imported(TIES, "folder/ties.yml").text == TIES_RECIPE


def test_what_the_comments_say_is_there_for_programs():
    made = imported(TIES, "ties.yml")
    assert [one.key for one in made.left_out] == ["int8_mask"]
    assert [one.entry for one in made.differences] == ["merged", "merged", ""]
    for one in made.differences:
        assert one.what in made.text.replace("\n# ", " ").replace("\n  # ", " ")


def dare(settings, like):
    text = f"merge_method: dare_ties\nbase_model: o\nmodels: [{{model: a}}]\nparameters: {settings}\n"
    return loads(imported(text, "c.yml", like=like).text).spec.let["merged"]


def test_like_mergekit_takes_its_choices():
    given = "{weight: 1, density: 0.3}"
    ours = 'dare_ties(base, [a], densities=densities, normalize="none", seed=seed)'
    theirs = 'dare_ties(base, [a], densities=densities, normalize="none", rescale="l1", seed=seed)'
    assert (dare(given, like=False), dare(given, like=True)) == (ours, theirs)
    kept = "{weight: 1, density: 0.3, rescale: false}"
    assert dare(kept, like=False) == dare(kept, like=True) == ours.replace("seed=", 'rescale="none", seed=')


@pytest.mark.parametrize(
    ("density", "said"), [("0.995", "so does this, to one element of a tensor"), ("[1, 0.5]", "this does not")]
)
def test_a_comment_says_whether_outliers_are_as_few(density, said):
    given = f"parameters: {{weight: 1, density: {density}}}"
    text = f"merge_method: breadcrumbs\nbase_model: o\nmodels: [{{model: a}}]\n{given}"
    assert f"mergekit drops fewer outliers; {said}." in imported(text, "c.yml", like=True).differences[0].what
    assert ("gammas=" in imported(text, "c.yml").text) == (said != "this does not")


@pytest.fixture
def bench(tmp_path):
    found = Bench(tmp_path)
    for seed, name in enumerate(("base", "a", "b")):
        torch.save(state(llama(), seed), tmp_path / f"{name}.pt")
    return found


def outcome(bench, text, *, like=False, name="merged.pt"):
    bench.run(imported(text, "c.yml", like=like).text)
    return torch.load(bench.folder / name, weights_only=True)


def mixed(a, b, weight):
    return {name: x + weight(name) * (b[name] - x) for name, x in a.items()}


def test_slices_one_after_the_other(bench):
    text = """
merge_method: linear
slices:
  - sources:
      - {model: a.pt, layer_range: [0, 1], parameters: {weight: 0.75}}
      - {model: b.pt, layer_range: [0, 1], parameters: {weight: 0.25}}
  - sources:
      - {model: a.pt, layer_range: [1, 2], parameters: {weight: 0.5}}
      - {model: b.pt, layer_range: [1, 2], parameters: {weight: 0.5}}
  - sources:
      - {model: b.pt, layer_range: [2, 3], parameters: {weight: 1}}
"""
    a, b = (torch.load(bench.folder / f"{name}.pt", weights_only=True) for name in "ab")

    def share(name):
        return 0.25 if "embed" in name or "layers.0." in name else 0.5 if "layers.1." in name else 1

    close(outcome(bench, text), mixed(a, b, share))


def test_a_chain_of_merges(bench):
    text = """
name: half way
merge_method: linear
models: [{model: a.pt}, {model: b.pt}]
parameters: {weight: 1}
---
merge_method: task_arithmetic
base_model: base.pt
models: [{model: half way, parameters: {weight: 0.5}}]
dtype: float16
"""
    base, a, b = (torch.load(bench.folder / f"{name}.pt", weights_only=True) for name in ("base", "a", "b"))
    expected = {name: ((x + ((a[name] + b[name]) / 2)) / 2).half() for name, x in base.items()}
    close(outcome(bench, text), expected)
    assert any("here the steps are one formula" in one.what for one in imported(text, "c.yml").differences)


def test_merges_that_nothing_reads_are_saved(bench):
    text = "merge_method: linear\nmodels: [{model: a.pt}, {model: b.pt}]\nparameters: {weight: 1}\n"
    outcome(bench, f"name: one\n{text}---\nname: two\n{text}", name="one.pt")
    assert (bench.folder / "two.pt").exists()


@pytest.mark.parametrize(("like", "last"), [(True, 0), (False, 1)])
def test_gradients_over_files(bench, like, last):
    """mergekit-pytorch, which merges files, takes the first number of a gradient for every tensor."""
    text = "merge_method: slerp\nbase_model: a.pt\nmodels: [{model: b.pt}]\nparameters: {t: [0, 1]}\n"
    a, b = (torch.load(bench.folder / f"{name}.pt", weights_only=True) for name in "ab")
    name = "model.layers.2.mlp.up_proj.weight"
    torch.testing.assert_close(outcome(bench, text, like=like)[name], (a, b)[last][name])


def test_filters_are_no_patterns(bench):
    """mergekit looks for the filter's letters in the name; a dot is a dot, and brackets are brackets."""
    scale = "{scale: [{filter: 'x[0]', value: 2}, {value: 3}]}"
    text = f"merge_method: passthrough\nmodels: [{{model: a.pt, parameters: {scale}}}]"
    assert "'re:x\\[0\\]': 2" in imported(text, "c.yml").text


def test_levels_of_settings(bench):
    """A model's own rules come first, then those of all models, then the default."""
    text = """
merge_method: linear
models:
  - {model: a.pt, parameters: {weight: [{filter: mlp, value: 3}]}}
  - {model: b.pt}
parameters: {weight: [{filter: mlp, value: 5}, {filter: norm, value: 2}, {value: 1}]}
"""
    assert '  a_weight:\n    "*mlp*": 3\n    "*norm*": 2\n    "*": 1\n' in imported(text, "c.yml").text


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("mistralai/Mistral-7B-v0.1", "mistral_7b_v0_1"),
        ("/data/chat/pytorch_model.bin", "chat"),
        ("runs/last.ckpt", "last"),
        ("./01-ai", "m_01_ai"),
        ("org/b2", "b2"),
        ("chat/model.safetensors", "chat"),
        ("model.safetensors", "model"),
        ("../model.safetensors", "model"),
        ("org/модель", "m"),
    ],
)
def test_names(model, name):
    assert identifier(model) == name


def test_where_models_lie(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "here").mkdir(parents=True)
    assert path_of("org/here") == "org/here"
    assert path_of("org/there") == "hf:org/there"
    assert path_of("org/there@v1") == "hf:org/there@v1"
    assert path_of("gpt2") == "hf:gpt2"
    for local in ("a.safetensors", "/x/y", "./y", "~/y", "a/b/c"):
        assert path_of(local) == local


def test_names_that_the_language_has():
    models = "[{model: org/soup}, {model: org/merged}, {model: x/merged}]"
    text = f"merge_method: linear\nmodels: {models}\nparameters: {{weight: 1}}\n"
    recipe = loads(imported(text, "c.yml").text)
    assert list(recipe.spec.inputs) == ["soup_2", "merged_2", "merged_3"]
    assert recipe.spec.let == {"merged": "soup([soup_2, merged_2, merged_3])"}
