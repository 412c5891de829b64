"""The published effects, re-made on digits by the recipes and training scripts of recipes/lab.

Each holds for every one of three seeds. A margin is at most half of the smallest gap that was seen in a study of its
own, on other seeds. What does not hold on this data, and so is not asserted, is in recipes/lab/README.md.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.packages import package
from weightmath.checkpoint import open_checkpoint
from weightmath.delta import Options, apply, make, open_delta
from weightmath.run import load, prepare, run

LAB = Path(__file__).parent.parent.parent / "recipes" / "lab"
SEEDS = (0, 1, 2)
Measures = dict[str, float]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=SEEDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of recipes/lab in which the training script has run for one seed."""
    folder = tmp_path_factory.mktemp(f"seed-{request.param}") / "lab"
    shutil.copytree(LAB, folder, ignore=shutil.ignore_patterns("models"))
    environment = {**os.environ, "PYTHONPATH": str(package("scikit-learn", "1.9.1"))}
    subprocess.run([sys.executable, folder / "train.py", str(request.param)], env=environment, check=True)
    return folder


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Measures]:
    """The numbers of a checkpoint, by the metric of the recipes."""
    monkeypatch.syspath_prepend(str(LAB))
    monkeypatch.syspath_prepend(str(package("scikit-learn", "1.9.1")))
    measures = importlib.import_module("evaluate").measures

    def of(path: Path, part: str = "test") -> Measures:
        return measures(torch.load(path, weights_only=True)["state_dict"], part)

    return of


@pytest.fixture
def merged(folder: Path, measure: Callable[..., Measures]) -> Callable[..., Measures]:
    """The numbers of what a recipe makes, with these values for its parameters."""

    def of(recipe: str, **values: object) -> Measures:
        made = prepare(load(folder / f"{recipe}.yaml", sets=[f"{name}={value}" for name, value in values.items()]))
        return measure(run(made, threads=1, force=True).job.saves[0].path)

    return of


def test_wise_ft_is_better_than_both_ends(merged: Callable[..., Measures]) -> None:
    """Wortsman et al., arXiv 2109.01903: between base and fine-tune there is a model better than both, on average."""
    curve = {alpha: merged("robustness_curve", alpha=alpha) for alpha in (0, 0.5, 0.75, 1)}
    assert curve[0.75]["mean"] > max(curve[0]["mean"], curve[1]["mean"]) + 0.01
    for domain in ("centred", "shifted"):
        assert curve[0.5][domain] > (curve[0][domain] + curve[1][domain]) / 2


def test_a_soup_of_noisy_ingredients_is_better_than_the_best(
    folder: Path, merged: Callable[..., Measures], measure: Callable[..., Measures]
) -> None:
    """Wortsman et al., arXiv 2203.05482, for fine-tunes that are trained alike and each learned wrong labels."""
    ingredients = sorted((folder / "models").glob("noisy-*.ckpt"))
    chosen = max(ingredients, key=lambda path: measure(path, "validation")["shifted"])
    soup = merged("noisy_soup")["shifted"]
    assert len(ingredients) == 8
    assert soup > measure(chosen)["shifted"] + 0.003
    assert soup > max(measure(path)["shifted"] for path in ingredients) + 0.001


def test_negation_forgets_one_task_and_keeps_the_others(merged: Callable[..., Measures]) -> None:
    """Ilharco et al., arXiv 2212.04089."""
    base, half, whole = (merged("forgetting", strength=strength) for strength in (0, -0.5, -1))
    assert half["eights"] < base["eights"] - 0.05
    assert whole["eights"] < base["eights"] - 0.29
    assert min(half["others"], whole["others"]) > base["others"] - 0.05


def test_rescaling_makes_up_for_what_dare_drops(merged: Callable[..., Measures]) -> None:
    """Yu et al., arXiv 2311.03099: with 1 / density a tenth of the changes does more than without, or the largest."""
    rescaled = merged("thinned_delta", kept=0.1)["shifted"]
    assert rescaled > merged("thinned_delta", kept=0.1, rescale="none")["shifted"] + 0.15
    assert rescaled > merged("largest_changes", kept=0.1)["shifted"] + 0.1


def test_accuracy_grows_with_the_rank(merged: Callable[..., Measures]) -> None:
    """Hu et al., arXiv 2106.09685: a fine-tune has few directions; eight of 64 do more than four, four than one."""
    one, four, eight = (merged("few_directions", directions=rank)["shifted"] for rank in (1, 4, 8))
    assert one < four < eight


def test_one_bit_of_each_change_is_enough(
    folder: Path, merged: Callable[..., Measures], measure: Callable[..., Measures]
) -> None:
    """Liu et al., arXiv 2402.10193, uncalibrated: as a recipe, and as the delta file that holds just the bits."""
    models = folder / "models"
    base, signs = measure(models / "base.ckpt")["shifted"], merged("one_bit_delta")["shifted"]
    assert signs > base + 0.2
    start, tuned = (open_checkpoint(models / f"{name}.ckpt").section() for name in ("base", "shifted"))
    make(start, tuned, folder / "signs.delta", Options("sign"))
    apply(start, [open_delta(folder / "signs.delta")], folder / "applied.ckpt")
    assert measure(folder / "applied.ckpt")["shifted"] > base + 0.2
    assert (folder / "signs.delta").stat().st_size < (models / "shifted.ckpt").stat().st_size / 15
