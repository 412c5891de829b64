"""The points that `vary` means, and what is said about mistakes in it."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from weightmath.errors import RecipeError
from weightmath.job import prepare
from weightmath.lab.vary import settings_of
from weightmath.recipe import loads
from weightmath.recipe.vary import VarySpec, filled, linspace, logspace

RECIPE = """\
inputs: {a: a.ckpt}
params: {alpha: 0.5, beta: 1, kind: x}
save:
  'm_{alpha}.ckpt': a
"""


def vary(text: str) -> VarySpec:
    found = loads(RECIPE + text, "r.yaml").spec.vary
    assert found is not None
    return found


def settings(text: str) -> list[dict[str, Any]]:
    return list(settings_of(vary(text)))


def test_a_grid_is_every_combination_and_the_last_turns_fastest() -> None:
    found = settings("vary: {alpha: [0, 0.5], kind: [x, y, z]}")
    assert [(one["alpha"], one["kind"]) for one in found] == list(product([0, 0.5], "xyz"))


def test_zipped_lists_go_side_by_side_and_combine_with_a_grid() -> None:
    assert settings("vary: {zip: {alpha: [0, 1], beta: [3, 4]}}") == [{"alpha": 0, "beta": 3}, {"alpha": 1, "beta": 4}]
    found = settings("vary: {grid: {kind: [x, y]}, zip: {alpha: [0, 1], beta: [3, 4]}}")
    assert [tuple(one.values()) for one in found] == [("x", 0, 3), ("x", 1, 4), ("y", 0, 3), ("y", 1, 4)]


@pytest.mark.parametrize(("first", "last", "count"), [(0, 1, 11), (-0.1, 0.7, 9), (1e-3, 2.5, 7), (1, 0, 5), (3, 9, 1)])
def test_spaces_are_numpy_s(first: float, last: float, count: int) -> None:
    np.testing.assert_allclose(linspace(first, last, count), np.linspace(first, last, count), rtol=1e-15, atol=1e-16)
    np.testing.assert_allclose(logspace(first, last, count), np.logspace(first, last, count), rtol=1e-13)


def test_spaces_give_the_decimals_that_are_meant() -> None:
    assert [one["alpha"] for one in settings("vary:\n  alpha: linspace(0, 1, 11)")] == [n / 10 for n in range(11)]
    assert [one["alpha"] for one in settings("vary:\n  alpha: logspace(-3, 0, 4)")] == [0.001, 0.01, 0.1, 1]
    assert np.linspace(0, 1, 11)[3] != 0.3


RANDOM = """\
vary:
  random:
    alpha: uniform(-1, 3)
    beta: loguniform(1e-3, 10)
    kind: [x, y]
  samples: {samples}
  seed: {seed}
"""


def test_random_samples_are_named_by_their_seed_and_nest() -> None:
    found = settings(RANDOM.format(samples=400, seed=3))
    assert found[:50] == settings(RANDOM.format(samples=50, seed=3))
    assert found[0] != settings(RANDOM.format(samples=1, seed=4))[0]
    assert found[0] == {"alpha": pytest.approx(-0.0481414917), "beta": pytest.approx(0.1502854379), "kind": "x"}


def test_random_samples_fill_their_ranges() -> None:
    found = settings(RANDOM.format(samples=4000, seed=0))
    alpha, beta = ([one[name] for one in found] for name in ("alpha", "beta"))
    assert -1 <= min(alpha) < -0.9 < 2.9 < max(alpha) < 3
    assert np.mean(alpha) == pytest.approx(1, abs=0.1)
    assert 1e-3 <= min(beta) < 1.1e-3 < 9 < max(beta) < 10
    assert np.mean(np.log10(beta)) == pytest.approx(-1, abs=0.1)
    assert {one["kind"] for one in found} == {"x", "y"}
    whole = settings("vary: {random: {beta: 'integers(1, 3)'}, samples: 3000}")
    counts = np.bincount([one["beta"] for one in whole])
    assert counts[1:].min() > 900
    assert len(counts) == 4


MISTAKES = [
    ("vary:\n  alpha: uniform(0, 1)", "r.yaml:6: vary.alpha: `uniform` is a range, not a list of values"),
    ("vary:\n  alhpa: [1]", "r.yaml:6: vary.alhpa: `alhpa` varies and is no parameter\n  hint: did you mean `alpha`?"),
    ("vary:\n  alpha: [x]", "r.yaml:6: vary.alpha: `alpha` is a number, and varies over text"),
    ("vary:\n  alpha: linspace(0, 1)", "r.yaml:6: vary.alpha: `linspace` takes 3 numbers"),
    ("vary:\n  alpha: linspace(0, 1, 2.5)", "gives a whole number of values from 1 to 1,000,000, not 2.5"),
    ("vary:\n  alpha: linspce(0, 1, 3)", "hint: did you mean `linspace`?"),
    ("vary:\n  alpha: logspace(0, 400, 3)", "the ends of `logspace` are exponents of 10"),
    ("vary:\n  alpha: 1 + 2", "r.yaml:6: vary.alpha: `1 + 2` is no list of values"),
    ("vary:\n  alpha: [1, [2]]", "r.yaml:6: vary.alpha[1]: the items of a list are numbers or texts"),
    ("vary:\n  random: {alpha: 'loguniform(0, 1)'}", "r.yaml:6: vary.random.alpha: `loguniform` begins above 0"),
    ("vary:\n  random: {alpha: 'uniform(1, 1)'}", "goes from low to high, not from 1 to 1"),
    ("vary:\n  random: {alpha: 'integers(1, 2.5)'}", "`integers` goes from a whole number to another"),
    (
        "vary:\n  zip: {alpha: [1], beta: [1, 2]}",
        "r.yaml:6: vary.zip: lists that are zipped have one length: alpha has",
    ),
    ("vary:\n  grid: {beta: [1]}\n  zip: {beta: [2]}", "`beta` varies in two ways"),
    ("vary:\n  grid: {beta: [1]}\n  seed: 3", "r.yaml:7: vary.seed: `seed` is for what varies at random"),
    (
        "vary:\n  random: {alpha: 'uniform(0, 1)'}\n  beta: [1, 2]",
        "r.yaml:7: vary.beta: unknown key `beta`\n  hint: beside `grid`, `zip` and `random`, lists of a parameter are "
        "written grid: {beta: [0, 0.5, 1]}",
    ),
    ("vary:\n  random: {alpha: 'uniform(0, 1)'}\n  sample: 2", "hint: did you mean `samples`?"),
    ("vary: {}", "r.yaml:5: vary: nothing varies"),
    ("metric: python e.py {checkpoint}", "r.yaml:5: metric: there is a `metric` and nothing varies"),
    ("vary: {alpha: [1]}\nmetric: python e.py", "metric: the command does not say where the checkpoint goes"),
    ("vary: {alpha: [1]}\nmetric: {run: 'a:b', goal: most}", "r.yaml:6: metric.goal: `goal` cannot be `most`"),
    ("vary: {alpha: [1]}\nmetric: {rnu: x}", "r.yaml:6: metric.rnu: unknown key `rnu`\n  hint: did you mean `run`?"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES, ids=[text for text, _ in MISTAKES])
def test_mistakes_are_placed_and_explained(text: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        loads(RECIPE + text, "r.yaml")
    assert message in str(caught.value)


def test_what_is_only_known_when_points_are_counted() -> None:
    with pytest.raises(RecipeError, match="needs a number of points"):
        settings("vary: {random: {alpha: 'uniform(0, 1)'}}")
    axis = "'linspace(0, 1, 2000)'"
    with pytest.raises(RecipeError, match="means 4,000,000 points"):
        settings(f"vary: {{alpha: {axis}, beta: {axis}}}")


def test_names_of_files_have_values_in_place_of_braces() -> None:
    values = {"alpha": 1 / 3, "n": 7, "kind": "x", "flag": True}
    assert filled("out/{kind}_{alpha}_{n}{flag}.ckpt", values) == "out/x_0.333333_7True.ckpt"
    assert filled("{alpha}.ckpt", {"alpha": 1e-5}) == "1e-05.ckpt"
    for text in ("../x", "", "..", "a\0b"):
        with pytest.raises(RecipeError, match="cannot be a part of a file's name"):
            filled("{kind}", {"kind": text})
    with pytest.raises(RecipeError) as caught:
        loads(RECIPE.replace("{alpha}.ckpt", "{alhpa}.ckpt") + "vary: {alpha: [1]}", "r.yaml")
    assert "`{alhpa}` in a file's name is no parameter\n  hint: did you mean `alpha`?" in str(caught.value)


def test_run_and_plan_say_to_sweep() -> None:
    with pytest.raises(RecipeError) as caught:
        prepare(loads(RECIPE + "vary: {alpha: [1], kind: [x]}", "r.yaml"))
    assert str(caught.value) == (
        "r.yaml:5: vary: `alpha`, `kind` vary, and the recipe is many\n"
        "  hint: alpha=0.5 kind=x makes one; weightmath sweep RECIPE measures every point"
    )
