"""Functions as users know them: pages with a recipe line that runs, and calls that are refused with the way out."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.engine.whole import memory_input, run
from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.errors import KindError, RecipeError
from weightmath.expression import evaluate
from weightmath.functions import FUNCTIONS, METHODS
from weightmath.methods import load
from weightmath.scope import Domain

CALLABLES = {name: entry.call for name, entry in {**FUNCTIONS, **load()}.items()}


def arrays(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {"layers.0.attn.weight": (4, 6), "layers.0.bias": (5,), "layers.2.attn.weight": (3, 7), "norm.bias": ()}
    return {name: np.asarray(rng.standard_normal(shape), "f4") for name, shape in shapes.items()}


INPUTS = {name: memory_input(name, arrays(seed)) for seed, name in enumerate(["base", "chat", "code"])}
base, chat = INPUTS["base"], INPUTS["chat"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_page(name):
    """A first sentence, and a recipe line that can be computed."""
    entry = FUNCTIONS[name]
    assert entry.summary.endswith((".", ":")) or "\n" in entry.page
    assert entry.name == name
    found = re.search(r"^ *Recipe: `(\w+): (.*)`$", entry.page, re.MULTILINE)
    assert found, "no recipe line"
    value = evaluate(found.group(2), INPUTS, CALLABLES)
    assert isinstance(value, Vector)
    if name == "gram":
        run(base + 0, [value])
    elif name != "blocks":  # which needs the names of a diffusion model
        run(base + value * (chat - base) if value.domain < Domain.ELEMENT else value)


def test_names_of_functions_and_methods_differ():
    load()
    assert not set(FUNCTIONS) & set(METHODS)


def test_the_package_exports_every_function():
    assert set(FUNCTIONS) <= set(f.__all__)
    assert all(getattr(f, name) is FUNCTIONS[name].call for name in FUNCTIONS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: f.sum(base), "is a statistic and must name its scope"),
        (lambda: f.sum(base), 'sum(x, scope="tensor"), or a list: sum([a, b])'),
        (lambda: f.median(base), "must name its scope"),
        (lambda: f.mean([base, chat], scope="tensor"), "taken element by element and has no scope"),
        (lambda: f.max([]), "empty list"),
        (lambda: f.weighted_mean([base, chat], [1, -1]), "the weights add up to 0"),
        (lambda: f.weighted_mean([base, chat], [1]), "`weights` has 1 value for 2 models"),
        (lambda: f.quantile(base, 1.5), "`q` must be in [0, 1], not 1.5"),
        (lambda: f.quantile(base, f.ramp(0, 1)), "must be a plain number"),
        (lambda: f.keep_largest(base, 1.1), "`density` must be in [0, 1], not 1.1"),
        (lambda: f.keep_largest(0.5, 0.5), "`x` must be a vector, not `0.5`"),
        (lambda: f.keep_largest(f.norm(base), 0.5), "`x` must be a vector, not `norm(base, scope='global')`"),
        (lambda: f.keep_largest([base], 0.5), "takes one vector, not a list"),
        (lambda: f.norm(base, scope="tensors"), "did you mean `tensor`"),
        (lambda: f.layer(3, 1), "layer(3, 1) is empty"),
        (lambda: f.layer(1.5), "`first` must be a whole number, not `1.5`"),
        (lambda: f.match(), "give at least one pattern"),
        (lambda: f.match(3), "must be a text in quotes, not `3`"),
        (lambda: f.ramp(), "a ramp needs at least one point"),
        (lambda: f.where(base, 1, 2), "`mask` must be a mask, not `base`"),
        (lambda: f.where(base, 1, 2), "comparisons make masks"),
        (lambda: f.abs("x"), 'must be a vector, a number, a table of patterns or a statistic, not `"x"`'),
        (lambda: f.abs(True), "not `true`"),
        (lambda: f.abs(base, base), "takes 1 positional argument, not 2"),
        (lambda: f.norm(base, "layer"), 'name the options, as in scope="global"'),
        (lambda: f.norm(base, scop="layer"), "did you mean `scope`"),
        (lambda: f.norm(base, x=base), "`x` is given twice"),
        (lambda: f.norm(), "`x` is missing"),
        (lambda: f.gaussian(seed=-1), "`seed` must be in [0, inf), not -1"),
        (lambda: f.gaussian(seed=1.5), "must be a whole number"),
        (lambda: f.bernoulli(1.5, seed=1), "`p` must be in [0, 1], not 1.5"),
        (lambda: f.gram(base), "`x` must be a list"),
        (lambda: f.gram([base, chat]) * base, "is several numbers, not one"),
        (lambda: f.norm(f.gram([base, chat])), "is several numbers, not one"),
        (lambda: f.principal([base, chat]), "2 runs have at most 1 principal directions, not 2"),
        (lambda: f.principal([base, chat], k=0), "`k` must be in [1, inf), not 0"),
        (lambda: f.filter_normalized(chat - base, like=base, one_dimensional="no"), "one of: zero scale"),
        (lambda: f.plane(base, chat), "`c` is missing"),
    ],
)
def test_calls_that_are_refused(call, message):
    with pytest.raises((RecipeError, KindError)) as caught:
        call()
    assert message in str(caught.value)


def test_an_error_names_the_function():
    with pytest.raises(RecipeError) as caught:
        f.keep_largest(base, 2)
    assert str(caught.value).startswith("keep_largest(): ")


def test_tables_and_statistics_are_numbers():
    assert f.lerp(base, chat, f.norm(base)).domain == Domain.ELEMENT
    assert f.weighted_mean([base, chat], f.density(base)).domain == Domain.ELEMENT
