"""Imported recipes against mergekit itself, with `--like mergekit`: models with a language model's tensor names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.families import llama, state
from tests.mergekit.peer import State, merged, mergekit
from weightmath.job import prepare
from weightmath.mergekit import imported
from weightmath.recipe import loads, with_overrides
from weightmath.running import run

NAMES = ("base", "a", "b", "c")
# Attention follows one gradient and the MLP another one, in the way that mergekit's examples have it.
GRADIENTS = "[{filter: self_attn, value: [0, 0.5, 0.3, 0.7, 1]}, {filter: mlp, value: [1, 0.2]}, {value: 0.4}]"

# Shares of which some or all are 1, where mergekit has no epsilon and no outliers.
SOME, ALL = ("[{filter: mlp, value: 0.5}, {filter: norm, value: 0.995}, {value: 1}]", "[{filter: mlp, value: 1}]")


@pytest.fixture(scope="module")
def kit() -> Iterator[Any]:
    with mergekit() as found:
        yield found


@pytest.fixture(scope="module")
def models() -> dict[str, State]:
    """Fine-tunes of a base: they differ from it by a tenth of its size."""
    base = state(llama(), 0)
    tuned = {name: state(llama(), seed) for seed, name in enumerate(NAMES[1:], 1)}
    return {"base": base} | {
        name: {key: x + 0.1 * tensors[key] for key, x in base.items()} for name, tensors in tuned.items()
    }


@pytest.fixture
def ours(models, tmp_path):
    """What the imported recipe makes of the models."""
    for name, tensors in models.items():
        torch.save(tensors, tmp_path / f"{name}.bin")

    def compute(text: str, like: bool = True) -> State:
        recipe = loads(imported(text, "config.yml", like=like).text, "merge.yaml", tmp_path / "merge.yaml")
        inputs = [f"{name}={tmp_path / name}.bin" for name in recipe.spec.inputs]
        (output,) = recipe.spec.save
        job = prepare(with_overrides(recipe, inputs=inputs, outputs=[f"{output}={tmp_path}/out.bin"]))
        run(job, threads=1, force=True)
        return torch.load(tmp_path / "out.bin", weights_only=True)

    return compute


def config(method: str, settings: str = "{}", base: str | None = "base", **own: str) -> str:
    """A configuration of the models that have settings of their own."""
    lines = [f"merge_method: {method}", f"parameters: {settings}", "models:"]
    lines += [f"  - model: {name}\n    parameters: {given}" for name, given in own.items()]
    return "\n".join([*lines, *([f"base_model: {base}"] if base else []), "dtype: float32"])


WEIGHTS = {"a": "{weight: 0.5}", "b": "{weight: 0.25}", "c": "{weight: 1}"}
EQUAL = [
    config("linear", base=None, **WEIGHTS),
    config("linear", "{normalize: false}", None, **WEIGHTS),
    config("linear", "{weight: 0.5}", **WEIGHTS),
    config("linear", a="{weight: 2}", b="{weight: 2}", base=None),
    config("linear", base=None, a=f"{{weight: {GRADIENTS}}}", b="{weight: [1, 0.5]}"),
    config("slerp", "{t: 0.3}", a="{}"),
    config("slerp", f"{{t: {GRADIENTS}}}", base="{}", a="{}").replace("base_model: {}", "base_model: base"),
    config("slerp", "{t: [0, 1]}", a="{}"),
    config("nuslerp", base=None, a="{weight: 3}", b="{weight: 1}"),
    config("nuslerp", a="{weight: 3}", b="{weight: 1}"),
    config("nuslerp", "{nuslerp_flatten: false}", a="{weight: 0.2}", b="{weight: 0.7}"),
    config("multislerp", base=None, **WEIGHTS),
    config("multislerp", "{normalize_weights: false}", **WEIGHTS),
    config("karcher", base=None, a="{}", b="{}", c="{}"),
    config("karcher", a="{}", b="{}"),
    config("passthrough", base=None, a="{scale: [{filter: o_proj, value: 0}, {value: 1.5}]}"),
    config("task_arithmetic", "{lambda: 0.7}", **WEIGHTS),
    config("task_arithmetic", "{normalize: true, lambda: 0.5}", **WEIGHTS),
    config("task_arithmetic", "{normalize: true, weight: 0.5}", a="{}", b="{}"),
    config("task_arithmetic", "{normalize: true, weight: 1}", a="{}", b="{}"),
    config("task_arithmetic", "{normalize: true}", a=f"{{weight: {GRADIENTS}}}", b="{weight: 0.3}"),
    config(
        "ties", a="{weight: 1, density: [1, 0.7, 0.1]}", b=f"{{weight: {GRADIENTS}, density: 0.5}}", c="{weight: 1}"
    ),
    config("ties", "{normalize: false, lambda: 0.5, density: 0.3}", **WEIGHTS),
    config("ties", "{weight: 1, density: 0.2}", a="{}", b="{}", c="{}"),
    config("dare_linear", **WEIGHTS),
    config("dare_linear", "{normalize: true, lambda: 2}", **WEIGHTS),
    config("dare_ties", **WEIGHTS),
    config("dare_ties", "{normalize: true}", **WEIGHTS),
    config("della", **WEIGHTS),
    config("della_linear", **WEIGHTS),
    config("della", a=f"{{weight: 0.5, density: {ALL}}}", b="{weight: 0.25}"),
    config("breadcrumbs", "{gamma: 0.2}", a=f"{{weight: 0.5, density: {SOME}}}", b="{weight: 0.25, density: 0.5}"),
    config("breadcrumbs", "{density: 0.9, gamma: 0.1}", **WEIGHTS),
    config("breadcrumbs", **WEIGHTS),
    config("breadcrumbs_ties", "{density: 0.5, gamma: 0.25}", **WEIGHTS),
    config("sce", a="{}", b="{}", c="{}"),
    config("sce", "{select_topk: 0.25}", a="{}", b="{}", c="{}"),
    config("model_stock", a="{}", b="{}", c="{}"),
    config("model_stock", "{filter_wise: true}", a="{}", b="{}"),
    config("nearswap", "{t: 0.05}", a="{}"),
    config("ram", "{epsilon: 0.05}", a="{}", b="{}"),
    config("ramplus_tl", "{epsilon: 0.05, r: 0.3}", a="{}", b="{}"),
]


@pytest.mark.parametrize("text", EQUAL)
def test_results_agree_up_to_rounding(kit, models, ours, text):
    theirs, found = merged(kit, text, models), ours(text)
    assert list(found) == list(theirs)
    assert far(found, theirs, 1e-4 if "karcher" in text else 1e-5) == []


def far(found: State, theirs: State, tolerance: float = 1e-5) -> list[str]:
    """The tensors that differ by more than rounding."""
    return [name for name, x in theirs.items() if not torch.allclose(found[name], x, tolerance, tolerance)]


# Methods that the import has otherwise without `--like mergekit`, and options that show it.
CHOSEN = [
    config("ties", "{density: 0.3}", **WEIGHTS),
    config("ramplus_tl", "{epsilon: 0.05, r: 0.3, alpha: 9}", a="{}", b="{}"),
    config("model_stock", a="{}", b="{}", c="{}"),
]


@pytest.mark.parametrize("text", CHOSEN)
def test_without_it_a_comment_says_what_differs(kit, models, ours, text):
    theirs = merged(kit, text, models)
    assert far(ours(text), theirs) == []
    assert len(far(ours(text, like=False), theirs)) > 5
    more = len(imported(text, "c.yml").differences) - len(imported(text, "c.yml", like=True).differences)
    assert more == 1


@pytest.mark.parametrize("method", ["dare_linear", "della_linear"])
def test_random_methods_move_each_tensor_as_far(kit, models, ours, method):
    """The masks are other ones, but what is left of a task vector has the sum of magnitudes that all of it had."""
    text = config(method, "{density: 0.6, weight: 0.5}", a="{}")
    theirs, found = merged(kit, text, models), ours(text)
    compared = 0
    for name, base in models["base"].items():
        moved = [float((result[name] - base).abs().sum()) for result in (found, theirs)]
        if min(moved) > 0:  # a tensor of four elements may lose them all
            assert moved[0] == pytest.approx(moved[1], rel=1e-4)
            compared += 1
    assert compared > 20
    assert len(far(found, theirs)) > 20
