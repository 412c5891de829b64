"""Parity with mergekit 0.1.5, peft 0.21.2 and the rule of TIES' authors, on real models.

Where a peer computes something else by design, the test states what, and how much it amounts to.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.whole import memory_input, run
from tests.methods.pages import METHODS
from tests.packages import folds, package
from weightmath.algebra.graph import Vector

Tensors = dict[str, np.ndarray]
WEIGHTS = [0.5, 0.25, 1.0]
NAMES = ("base", "a", "b", "c")


@pytest.fixture(scope="module")
def states() -> dict[str, Tensors]:
    """A base and three models, float32."""
    loaded = [torch.load(path, map_location="cpu", weights_only=True) for path in folds()[:4]]
    return {key: {n: t.numpy() for n, t in state.items()} for key, state in zip(NAMES, loaded, strict=True)}


@pytest.fixture(scope="module")
def vectors(states: dict[str, Tensors]) -> dict[str, Vector]:
    return {key: memory_input(key, arrays) for key, arrays in states.items()}


@pytest.fixture(scope="module")
def mergekit(states: dict[str, Tensors]) -> Iterator[Callable[..., Tensors]]:
    """mergekit's merge of the four models, or those named, by a method with its parameters."""
    path = str(package("mergekit", "0.1.5"))
    sys.path.insert(0, path)
    merge_state_dicts = importlib.import_module("mergekit.merge_methods").merge_state_dicts

    def merge(
        method: str,
        models: tuple[str, ...] = NAMES,
        base: str | None = "base",
        only: Sequence[str] | None = None,
        **parameters: Any,
    ) -> Tensors:
        names = only or list(states["base"])
        dicts = {key: {name: torch.from_numpy(states[key][name].copy()) for name in names} for key in models}
        merged = merge_state_dicts(dicts, method, base=base, parameters=parameters)
        return {name: tensor.numpy() for name, tensor in merged.items()}

    yield merge
    sys.path.remove(path)


@pytest.fixture(scope="module")
def peft() -> Any:
    """peft's functions on lists of task vectors, without peft's own requirements."""
    path = package("peft", "0.21.2") / "peft" / "utils" / "merge_utils.py"
    spec = importlib.util.spec_from_file_location("peft_merge_utils", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def computed(value: Vector) -> Tensors:
    return run(value)[0]


def differing(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], rounding: float = 2e-6) -> int:
    """How many elements differ by more than rounding, relative to the size of their tensor."""
    assert set(ours) == set(theirs)
    count = 0
    for name, x in ours.items():
        scale = rounding * (1e-30 + np.abs(x).max(initial=0))
        count += int(np.count_nonzero(~np.isclose(x, theirs[name], rtol=rounding, atol=scale)))
    return count


def size(tensors: Mapping[str, np.ndarray]) -> int:
    return sum(array.size for array in tensors.values())


def distance(a: Tensors, b: Tensors, base: Tensors) -> float:
    """How far two results are apart, relative to how far the first is from the base."""
    apart = sum(float(((a[n] - b[n]).astype(np.float64) ** 2).sum()) for n in a)
    moved = sum(float(((a[n] - base[n]).astype(np.float64) ** 2).sum()) for n in a)
    return float(np.sqrt(apart / moved))


# Method, its options, and mergekit's method with its parameters: results that are equal up to rounding.
EQUAL: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("task_arithmetic", {"weights": WEIGHTS, "scale": 0.7}, "task_arithmetic", {"weight": WEIGHTS, "lambda": 0.7}),
    (
        "ties",
        {"weights": WEIGHTS, "densities": 0.3, "scope": "tensor", "normalize": "weights"},
        "ties",
        {"weight": WEIGHTS, "density": 0.3},
    ),
    (
        "ties",
        {"weights": WEIGHTS, "densities": [0.1, 0.5, 1], "scope": "tensor", "normalize": "none", "scale": 0.5},
        "ties",
        {"weight": WEIGHTS, "density": [0.1, 0.5, 1.0], "normalize": False, "lambda": 0.5},
    ),
    (
        "breadcrumbs",
        {"weights": WEIGHTS, "densities": 0.5, "gammas": 0.05},
        "breadcrumbs",
        {"weight": WEIGHTS, "density": 0.5, "gamma": 0.05},
    ),
    (
        "breadcrumbs_ties",
        {"weights": WEIGHTS, "densities": 0.5, "gammas": 0.05, "normalize": "none"},
        "breadcrumbs_ties",
        {"weight": WEIGHTS, "density": 0.5, "gamma": 0.05},
    ),
    ("sce", {"density": 1}, "sce", {"select_topk": 1.0}),
    ("ram", {}, "ram", {}),
    ("ram_plus", {"scope": "tensor"}, "ramplus_tl", {}),
    ("dare", {"weights": WEIGHTS, "densities": 1}, "dare_linear", {"weight": WEIGHTS, "density": 1.0}),
    (
        "dare_ties",
        {"weights": WEIGHTS, "densities": 1, "normalize": "none"},
        "dare_ties",
        {"weight": WEIGHTS, "density": 1.0},
    ),
]


@pytest.mark.parametrize(("name", "options", "peer", "parameters"), EQUAL)
def test_equals_mergekit(
    vectors: dict[str, Vector],
    mergekit: Callable[..., Tensors],
    name: str,
    options: dict[str, Any],
    peer: str,
    parameters: dict[str, Any],
):
    base, *models = vectors.values()
    per_model = {k: dict(zip(NAMES[1:], v, strict=True)) if isinstance(v, list) else v for k, v in parameters.items()}
    ours = computed(METHODS[name].call(base, models, **options))
    theirs = mergekit(peer, **per_model)
    if name.startswith("breadcrumbs"):
        # Of a tensor of one element mergekit keeps int(density * 1) = 0, ours one at the least.
        for tensor in [tensor for tensor in ours if ours[tensor].size == 1]:
            assert theirs.pop(tensor) != ours.pop(tensor)
    assert differing(ours, theirs) == 0


def test_weighted_average_equals_mergekit(vectors: dict[str, Vector], mergekit: Callable[..., Tensors]):
    ours = computed(METHODS["weighted_average"].call(list(vectors.values()), weights=[1, 2, 0.5, 1]))
    theirs = mergekit("linear", base=None, weight=dict(zip(NAMES, [1, 2, 0.5, 1], strict=True)))
    assert differing(ours, theirs) == 0


# The same for two models.
PAIRS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("slerp", {"t": 0.3}, {"t": 0.3}),
    ("nearswap", {"t": 0.01}, {"t": 0.01}),
]


@pytest.mark.parametrize(("name", "options", "parameters"), PAIRS)
def test_pair_equals_mergekit(
    vectors: dict[str, Vector],
    mergekit: Callable[..., Tensors],
    name: str,
    options: dict[str, Any],
    parameters: dict[str, Any],
):
    ours = computed(METHODS[name].call(vectors["base"], vectors["a"], **options))
    assert differing(ours, mergekit(name, ("base", "a"), **parameters)) == 0


def test_nuslerp_equals_mergekit(vectors: dict[str, Vector], mergekit: Callable[..., Tensors]):
    ours = computed(METHODS["nuslerp"].call([vectors["a"], vectors["b"]], weights=[3, 1]))
    assert differing(ours, mergekit("nuslerp", ("a", "b"), None, weight={"a": 3.0, "b": 1.0})) == 0


def test_karcher_equals_mergekit(vectors: dict[str, Vector], mergekit: Callable[..., Tensors]):
    ours = computed(METHODS["karcher"].call([vectors[key] for key in "abc"]))
    assert differing(ours, mergekit("karcher", ("a", "b", "c"), None), 1e-4) == 0  # it stops at 1e-5


def test_model_stock_equals_mergekit(
    states: dict[str, Tensors], vectors: dict[str, Vector], mergekit: Callable[..., Tensors]
):
    """Where products of norms are above 1e-6, which mergekit takes for the least."""
    base, *models = vectors.values()
    ours, theirs = computed(METHODS["model_stock"].call(base, models, clip=False)), mergekit("model_stock")
    for name in states["base"]:
        norms = sorted(float(np.linalg.norm(states[key][name] - states["base"][name])) for key in "abc")
        if 0 < norms[0] * norms[1] < 1e-6:
            assert differing({name: ours.pop(name)}, {name: theirs.pop(name)}) > 0
    assert 90 < len(ours) < len(states["base"])
    assert differing(ours, theirs) == 0


def test_sce_selects_by_share_of_all_elements(vectors: dict[str, Vector], mergekit: Callable[..., Tensors]):
    """mergekit takes the share of elements whose variance is not 0, ours of all."""
    base, *models = vectors.values()
    ours = computed(METHODS["sce"].call(base, models, density=0.1))
    assert differing(ours, mergekit("sce", select_topk=0.1)) <= 20


def test_arcee_fusion_takes_exact_quantiles(vectors: dict[str, Vector], mergekit: Callable[..., Tensors]):
    """mergekit takes order statistics below the quantile, and softmax along the last axis."""
    ours = computed(METHODS["arcee_fusion"].call(vectors["base"], vectors["a"]))
    theirs = mergekit("arcee_fusion", ("base", "a"))
    assert differing(ours, theirs) < 0.001 * size(ours)


@pytest.mark.parametrize(("name", "parameters"), [("dare", {}), ("della", {"epsilon": 0.05})])
def test_random_methods_keep_as_much_as_mergekit(
    states: dict[str, Tensors],
    vectors: dict[str, Vector],
    mergekit: Callable[..., Tensors],
    name: str,
    parameters: dict[str, float],
):
    """The masks are other ones; with its rescaling each tensor moves by as much. Its DELLA fails on single elements."""
    base, model = states["base"], states["a"]
    large = [n for n in base if base[n].size >= 1000 and (model[n] != base[n]).any()]
    assert len(large) > 20
    ours = computed(METHODS[name].call(vectors["base"], [vectors["a"]], densities=0.3, rescale="l1"))
    theirs = mergekit(f"{name}_linear", ("base", "a"), only=large, weight=1.0, density=0.3, **parameters)
    for tensor in large:
        moved = [np.abs(result[tensor] - base[tensor]) for result in (ours, theirs)]
        assert moved[0].sum() == pytest.approx(moved[1].sum(), rel=1e-4)
        kept = [np.count_nonzero(part) / part.size for part in moved]
        assert kept == pytest.approx([0.3, 0.3], abs=4 * np.sqrt(0.21 / base[tensor].size))
    assert differing({tensor: ours[tensor] for tensor in large}, theirs) > 0.3 * size(theirs)


def task_vectors(states: dict[str, Tensors], name: str) -> list[torch.Tensor]:
    return [torch.from_numpy(states[key][name] - states["base"][name]) for key in NAMES[1:]]


def with_peft(states: dict[str, Tensors], combine: Callable[[list[torch.Tensor]], torch.Tensor]) -> Tensors:
    return {name: base + combine(task_vectors(states, name)).numpy() for name, base in states["base"].items()}


def test_task_arithmetic_equals_peft(states: dict[str, Tensors], vectors: dict[str, Vector], peft: Any):
    base, *models = vectors.values()
    theirs = with_peft(states, lambda deltas: peft.task_arithmetic(deltas, torch.tensor(WEIGHTS)))
    assert differing(computed(METHODS["task_arithmetic"].call(base, models, weights=WEIGHTS)), theirs) == 0


def test_ties_equals_peft(states: dict[str, Tensors], vectors: dict[str, Vector], peft: Any):
    """With equal weights. peft trims per tensor."""
    base, *models = vectors.values()
    theirs = with_peft(states, lambda deltas: peft.ties(deltas, torch.full([3], 0.5), 0.3))
    ours = computed(METHODS["ties"].call(base, models, weights=0.5, densities=0.3, scope="tensor"))
    assert differing(ours, theirs) <= 20


def test_peft_elects_before_it_weights(states: dict[str, Tensors], vectors: dict[str, Vector], peft: Any):
    """With other weights peft lets all models vote alike, and ours by their weight: signs differ here and there."""
    base, *models = vectors.values()
    theirs = with_peft(states, lambda deltas: peft.ties(deltas, torch.tensor(WEIGHTS), 0.3))
    ours = computed(METHODS["ties"].call(base, models, weights=WEIGHTS, densities=0.3, scope="tensor"))
    assert 0.1 < distance(ours, theirs, states["base"]) < 0.6


def test_dare_rescales_as_peft(states: dict[str, Tensors], vectors: dict[str, Vector], peft: Any):
    """What is kept is divided by the density."""
    ours = computed(METHODS["dare"].call(vectors["base"], [vectors["a"]], densities=0.25))
    theirs = with_peft(states, lambda deltas: peft.dare_linear(deltas[:1], torch.ones(1), 0.25))
    for name, base in states["base"].items():
        fourfold = base + 4 * (states["a"][name] - base)
        for result in (ours[name], theirs[name]):
            kept = result != base
            np.testing.assert_allclose(result[kept], fourfold[kept], rtol=1e-5, atol=1e-6)


def test_global_ties_equals_the_rule_of_its_authors(states: dict[str, Tensors], vectors: dict[str, Vector]):
    """On whole flat vectors. Theirs keeps one element more of each model, and gives a tie of signs the majority's."""
    names = sorted(states["base"])
    flat = {key: np.concatenate([state[name].reshape(-1) for name in names]) for key, state in states.items()}
    expected = flat["base"] + _authors_rule([flat[key] - flat["base"] for key in NAMES[1:]], 0.2)
    ours = computed(METHODS["ties"].call(vectors["base"], [vectors[key] for key in NAMES[1:]], densities=0.2))
    got = np.concatenate([ours[name].reshape(-1) for name in names])
    apart = ~np.isclose(got, expected, rtol=2e-6, atol=1e-8)
    assert np.count_nonzero(apart) <= 3


def _authors_rule(deltas: list[np.ndarray], share: float) -> np.ndarray:
    trimmed = []
    for delta in deltas:
        size = np.abs(delta)
        kept = int(share * size.size)
        threshold = np.sort(size)[size.size - kept - 1]  # the smallest that is kept: one more than the share
        trimmed.append(np.where(size >= threshold, delta, 0))
    stacked = np.stack(trimmed)
    sign = np.sign(stacked.sum(axis=0))
    sign[sign == 0] = np.sign(sign.sum())
    chosen = np.where(np.where(sign > 0, stacked > 0, stacked < 0), stacked, 0)
    return chosen.sum(axis=0) / np.maximum(np.count_nonzero(chosen, axis=0), 1)


def test_differing_can_fail(states: dict[str, Tensors]):
    assert differing(states["a"], states["b"]) > 0.9 * size(states["a"])
    assert differing(states["a"], states["a"]) == 0
