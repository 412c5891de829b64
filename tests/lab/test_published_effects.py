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
from typing import Any

import pytest
import torch

from tests.packages import package
from weightmath.align import align
from weightmath.checkpoint import open_checkpoint
from weightmath.delta.api import Options, apply, make, open_delta
from weightmath.job import prepare
from weightmath.lab.landscape.barrier import barriers
from weightmath.lab.landscape.explore import explore
from weightmath.lab.landscape.views import line
from weightmath.lab.sweep import sweep
from weightmath.running import load, run

LAB = Path(__file__).parent.parent.parent / "recipes" / "lab"
DATA = str(package("scikit-learn", "1.9.1"))
SEEDS = (0, 1, 2)
Numbers = dict[str, float]
Measure = Callable[..., Numbers]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module", params=SEEDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of recipes/lab in which the training script has run for one seed."""
    folder = tmp_path_factory.mktemp(f"seed-{request.param}") / "lab"
    shutil.copytree(LAB, folder, ignore=shutil.ignore_patterns("models"))
    environment = {**os.environ, "PYTHONPATH": DATA}
    subprocess.run([sys.executable, folder / "train.py", str(request.param)], env=environment, check=True)
    return folder


@pytest.fixture
def measures(monkeypatch: pytest.MonkeyPatch) -> Measure:
    """The metric of the recipes, as a function of a state dict."""
    monkeypatch.syspath_prepend(str(LAB))
    monkeypatch.syspath_prepend(DATA)
    found: Measure = importlib.import_module("evaluate").measures
    return found


@pytest.fixture
def measure(folder: Path, measures: Measure) -> Callable[..., Numbers]:
    """The numbers of a checkpoint in the folder."""
    return lambda name, *part: measures(torch.load(folder / name, weights_only=True)["state_dict"], *part)


@pytest.fixture
def swept(folder: Path, measures: Measure) -> Callable[[str], dict[Any, Numbers]]:
    """The numbers of all points of a recipe that varies, by the values of its parameters."""

    def of(recipe: str) -> dict[Any, Numbers]:
        table = sweep(folder / f"{recipe}.yaml", metric=measures, of=["mean"], keep="none")
        points = [(tuple(row.params.values()), row.metrics) for row in table.rows]
        return {values[0] if len(values) == 1 else values: dict(numbers) for values, numbers in points}

    return of


def test_wise_ft_is_better_than_both_ends(swept: Callable[[str], dict[Any, Numbers]]) -> None:
    """Wortsman et al., arXiv 2109.01903: between base and fine-tune there is a model better than both, on average."""
    curve = swept("robustness_curve")
    assert curve[0.75]["mean"] > max(curve[0]["mean"], curve[1]["mean"]) + 0.01
    for place in ("centred", "shifted"):
        assert curve[0.5][place] > (curve[0][place] + curve[1][place]) / 2


def test_a_soup_of_noisy_ingredients_is_better_than_the_best(folder: Path, measure: Callable[..., Numbers]) -> None:
    """Wortsman et al., arXiv 2203.05482, for fine-tunes that are trained alike and each learned wrong labels."""
    run(prepare(load(folder / "noisy_soup.yaml")), threads=1)
    names = [f"models/noisy-{i}.ckpt" for i in range(8)]
    chosen = max(names, key=lambda name: measure(name, "validation")["shifted"])
    soup = measure("average.ckpt")["shifted"]
    assert soup > measure(chosen)["shifted"] + 0.003
    assert soup > max(measure(name)["shifted"] for name in names) + 0.001


def test_negation_forgets_one_task_and_keeps_the_others(swept: Callable[[str], dict[Any, Numbers]]) -> None:
    """Ilharco et al., arXiv 2212.04089."""
    curve = swept("forgetting")
    assert curve[-0.5]["eights"] < curve[0]["eights"] - 0.05
    assert curve[-1]["eights"] < curve[0]["eights"] - 0.29
    assert min(curve[-0.5]["others"], curve[-1]["others"]) > curve[0]["others"] - 0.05


def test_rescaling_makes_up_for_what_dare_drops(swept: Callable[[str], dict[Any, Numbers]]) -> None:
    """Yu et al., arXiv 2311.03099: with 1 / density a tenth of the changes does more than without, or the largest."""
    thinned, largest = swept("thinned_delta"), swept("largest_changes")
    assert thinned[0.1, "density"]["shifted"] > thinned[0.1, "none"]["shifted"] + 0.15
    assert thinned[0.1, "density"]["shifted"] > largest[0.1]["shifted"] + 0.1


def test_accuracy_grows_with_the_rank(swept: Callable[[str], dict[Any, Numbers]]) -> None:
    """Hu et al., arXiv 2106.09685: a fine-tune has few directions; eight of 64 do more than four, four than one."""
    by_rank = swept("few_directions")
    assert by_rank[1]["shifted"] < by_rank[4]["shifted"] < by_rank[8]["shifted"]


def test_one_bit_of_each_change_is_enough(folder: Path, measure: Callable[..., Numbers]) -> None:
    """Liu et al., arXiv 2402.10193, uncalibrated: as a recipe, and as the delta file that holds just the bits."""
    base = measure("models/base.ckpt")["shifted"]
    run(prepare(load(folder / "one_bit_delta.yaml")), threads=1)
    assert measure("signs.ckpt")["shifted"] > base + 0.2
    start, tuned = (open_checkpoint(folder / f"models/{name}.ckpt").section() for name in ("base", "shifted"))
    make(start, tuned, folder / "signs.delta", Options("sign"))
    apply(start, [open_delta(folder / "signs.delta")], folder / "applied.ckpt")
    assert measure("applied.ckpt")["shifted"] > base + 0.2
    assert (folder / "signs.delta").stat().st_size < (folder / "models" / "shifted.ckpt").stat().st_size / 15


def test_alignment_takes_the_barrier_away(folder: Path, measures: Measure) -> None:
    """Ainsworth et al., arXiv 2209.04836: less than half of the barrier is left, and the way between is better."""
    base, other, aligned = (folder / "models" / f"{name}.ckpt" for name in ("base", "other", "aligned"))
    align(base, other, aligned)
    before, after = (explore(line(base, end), measures, of=["loss"], goal="min") for end in (other, aligned))
    assert barriers(after)[0].height < 0.5 * barriers(before)[0].height
    assert after.rows[5].params == {"t": 0.5}
    assert after.rows[5].metrics["centred"] > before.rows[5].metrics["centred"]
    for name, value in after.rows[10].metrics.items():
        assert value == pytest.approx(before.rows[10].metrics[name], abs=1e-5)


@pytest.mark.parametrize("folder", SEEDS[:1], indirect=True)
def test_the_recipes_metric_is_a_program(folder: Path, measures: Measure, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe as it is, whose worker reads files, and the same function in memory."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", DATA)
    by_worker = sweep(folder / "few_directions.yaml")
    in_memory = sweep(folder / "few_directions.yaml", metric=measures, of=["shifted"], keep="none")
    assert by_worker.head.goal == in_memory.head.goal == {"shifted": "max"}
    for one, other in zip(by_worker.rows, in_memory.rows, strict=True):
        assert one.metrics == pytest.approx(other.metrics, abs=5.1e-5)
    best = in_memory.best()
    assert best is not None
    kept = torch.load(folder / "reduced.ckpt", weights_only=True)["state_dict"]
    assert measures(kept)["shifted"] == best.metrics["shifted"]
