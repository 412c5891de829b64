"""Every method has a recipe, found under its name, that runs on the quickstart's checkpoints as plain numpy does."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.engine.whole import layout_of, memory_input, whole
from weightmath import methods
from weightmath.gallery import starter, starters
from weightmath.job import callables, prepare
from weightmath.recipe import build, load
from weightmath.running import run

RECIPES = Path(__file__).parent.parent / "recipes"
KINDS = sorted(path.stem for path in (RECIPES / "methods").glob("*.yaml"))


def arrays(path: Path) -> dict[str, np.ndarray]:
    """The state dict of a checkpoint, as torch reads it."""
    return {name: x.numpy() for name, x in torch.load(path, weights_only=True)["state_dict"].items()}


@pytest.mark.parametrize("name", methods.load())
def test_a_newcomer_finds_a_recipe(name: str) -> None:
    assert f" {name}(" in starter(name).text


def test_there_is_one_recipe_per_method() -> None:
    elsewhere = {kind.rpartition("/")[2] for kind in starters() if not kind.startswith("methods/")}
    assert set(KINDS) == set(methods.load()) - elsewhere


@pytest.mark.parametrize("name", KINDS)
def test_it_computes_what_it_says(name: str, tmp_path: Path) -> None:
    shutil.copytree(RECIPES / "quickstart", tmp_path / "quickstart", ignore=shutil.ignore_patterns("*.py"))
    (tmp_path / "methods").mkdir()
    shutil.copy(RECIPES / "methods" / f"{name}.yaml", tmp_path / "methods")
    recipe = load(tmp_path / "methods" / f"{name}.yaml")
    report = run(prepare(recipe), threads=1)
    assert report.warnings == ()
    inputs = {key: arrays(tmp_path / "methods" / str(spec.path)) for key, spec in recipe.spec.inputs.items()}
    built = build(recipe, {key: memory_input(key, tensors) for key, tensors in inputs.items()}, callables())
    for path, value in built.saves.items():
        expected = whole(value, layout_of(next(iter(inputs.values()))))
        found = arrays(tmp_path / "methods" / path)
        for key, tensor in found.items():
            np.testing.assert_allclose(tensor, expected[key], rtol=1e-4, atol=1e-6, err_msg=key)
        assert any((tensor != next(iter(inputs.values()))[key]).any() for key, tensor in found.items())
