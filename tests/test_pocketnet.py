"""Five real models that were trained elsewhere: recipes over them equal plain numpy on the whole arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.packages import folds
from weightmath import recipe
from weightmath.job import prepare
from weightmath.kernels import random
from weightmath.running import Report, run

Tensors = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def models() -> list[Tensors]:
    loaded = [torch.load(path, map_location="cpu", weights_only=True) for path in folds()]
    return [{name: tensor.numpy() for name, tensor in state.items()} for state in loaded]


def merged(tmp_path: Path, let: str, value: str = "merged") -> tuple[Tensors, Report]:
    """Run a recipe over the folds a..e; the output as plain torch reads it, on this machine without a GPU."""
    lines = [f"  {name}: {path}" for name, path in zip("abcde", folds(), strict=True)]
    text = "\n".join(["inputs:", *lines, "let:", f"  merged: {let}", "save:", f"  {tmp_path / 'out.pt'}: {value}"])
    report = run(prepare(recipe.loads(text)))
    state = torch.load(tmp_path / "out.pt")
    return {name: tensor.numpy() for name, tensor in state.items()}, report


def flat(model: Tensors) -> np.ndarray:
    return np.concatenate([model[name].reshape(-1) for name in sorted(model)])


def test_soup(tmp_path: Path, models: list[Tensors]) -> None:
    soup, report = merged(tmp_path, "mean([a, b, c, d, e])")
    total = flat(models[0])
    for other in models[1:]:
        total = total + flat(other)
    np.testing.assert_array_equal(flat(soup), total / np.float32(5))
    assert list(soup) == list(models[0])
    outcome = report.results.outcomes[str(tmp_path / "out.pt")]
    base = flat(models[0]).astype(np.float64)
    assert outcome.relative_change == pytest.approx(np.linalg.norm(flat(soup) - base) / np.linalg.norm(base), rel=1e-6)


def test_task_arithmetic(tmp_path: Path, models: list[Tensors]) -> None:
    mix, _ = merged(tmp_path, "task_arithmetic(a, [b, c], weights=[0.5, 0.25])")
    a, b, c = map(flat, models[:3])
    half, quarter = np.float32(0.5), np.float32(0.25)
    np.testing.assert_array_equal(flat(mix), a + (half * (b - a) + quarter * (c - a)))


def test_global_top_share_of_a_delta(tmp_path: Path, models: list[Tensors]) -> None:
    kept, _ = merged(tmp_path, 'a + keep_largest(b - a, 0.2, scope="global")')
    a, delta = flat(models[0]), flat(models[1]) - flat(models[0])
    order = np.argsort(-np.abs(delta), kind="stable")
    mask = np.zeros(len(delta), dtype=bool)
    mask[order[: len(delta) // 5]] = True
    np.testing.assert_array_equal(flat(kept), np.where(mask, a + delta, a))


def test_noise_probe(tmp_path: Path, models: list[Tensors]) -> None:
    noisy, _ = merged(tmp_path, 'a + 0.01 * std(a, scope="tensor") * gaussian(seed=7)')
    for name, tensor in models[0].items():
        key = random.key(7, "gaussian", "", name)
        noise = random.gaussian(key, 0, tensor.size, np.float32).reshape(tensor.shape)
        scale = np.float32(0.01 * tensor.astype(np.float64).std())  # numbers fold in float64, and meet a vector once
        np.testing.assert_allclose(noisy[name], tensor + scale * noise, rtol=3e-7, atol=1e-9)


def test_models_differ_as_published(models: list[Tensors]) -> None:
    vectors = [flat(model).astype(np.float64) for model in models]
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for i, a in enumerate(vectors) for b in vectors[:i]]
    assert min(cosines) > 0.955
    assert max(cosines) < 0.98
