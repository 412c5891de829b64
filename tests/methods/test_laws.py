"""Laws that hold for every method, or for all but a few that are listed with their reason."""

from __future__ import annotations

import numpy as np
import pytest

from tests.engine.small import LAYOUT, SETTINGS, A, B, C, a, assert_same_bits, b, c, small  # noqa: F401
from tests.engine.whole import memory_input, run
from tests.methods.pages import CALLABLES, METHODS, value_of
from weightmath.algebra.graph import Vector, topological
from weightmath.expression import evaluate

INPUTS = {"base": a, "chat": b, "code": c}
SCOPES = ("row", "tensor", "layer", "global", r"re:(blocks|head)")
CASES = [(name, "") for name in METHODS]
for _name, _declared in METHODS.items():
    for _parameter in _declared.signature.parameters:
        if _parameter.name == "scope":
            CASES += [(_name, scope) for scope in _parameter.role.choices or SCOPES]

# A model merged with itself: means divide a sum, exp(log(x)) rounds.
ROUNDED = {"soup", "weighted_average", "geometric_mean", "fisher", "geometric_median", "karcher", "nuslerp", "slerp"}
# Methods in whose formulas numbers stand that do not scale with the weights.
ABSOLUTE = {
    "arcee_fusion": "a softmax of the weights",
    "fisher": "the recipe's Fisher diagonals are squares of the weights, and the floor",
    "nearswap": "t",
    "pcb": "tanh of a product of weights",
    "ram": "epsilon",
    "ram_plus": "epsilon",
    "wudi": "steps by a rate",
}
SYMMETRIC = (
    "breadcrumbs",
    "breadcrumbs_ties",
    "consensus",
    "emr",
    "geometric_mean",
    "pcb",
    "ram",
    "ram_plus",
    "sce",
    "soup",
    "task_arithmetic",
    "ties",
    "weighted_average",
)


def values(name: str, scope: str = "", **options: object) -> Vector:
    return value_of(name, INPUTS, **({"scope": scope} if scope else {}), **options)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("name", "scope"), CASES)
def test_chunks_threads_and_order_do_not_change_a_bit(name: str, scope: str):
    value = values(name, scope)
    first, _ = run(value, settings=SETTINGS[0], layout=LAYOUT)
    for settings in SETTINGS[1:]:
        assert_same_bits(first, run(value, settings=settings, layout=LAYOUT)[0], f"{settings}")
    backwards = range(len(LAYOUT))[::-1]
    assert_same_bits(first, run(value, settings=SETTINGS[1], order=backwards, layout=LAYOUT)[0], "backwards")


@pytest.mark.parametrize(("name", "scope"), CASES)
def test_a_model_merged_with_itself_is_itself(name: str, scope: str):
    same = dict.fromkeys(INPUTS, a)
    got, _ = run(value_of(name, same, **({"scope": scope} if scope else {})))
    for tensor, array in A.items():
        if name in ROUNDED:
            np.testing.assert_allclose(got[tensor], array, rtol=1e-6, err_msg=tensor)
        else:
            np.testing.assert_array_equal(got[tensor], array, err_msg=tensor)


def scaled(factor: float) -> dict[str, Vector]:
    return {
        key: memory_input(f"{factor:g} {key}", {tensor: np.float32(factor) * array for tensor, array in arrays.items()})
        for key, arrays in (("base", A), ("chat", B), ("code", C))
    }


@pytest.mark.parametrize(("name", "scope"), [case for case in CASES if case[0] not in ABSOLUTE])
def test_weights_four_times_as_large_give_four_times_the_result(name: str, scope: str):
    options = {"scope": scope} if scope else {}
    once, _ = run(value_of(name, INPUTS, **options))
    fourfold, _ = run(value_of(name, scaled(4), **options))
    for tensor in once:
        np.testing.assert_allclose(fourfold[tensor], 4 * once[tensor], rtol=2e-6, atol=1e-6, err_msg=tensor)


@pytest.mark.parametrize("name", ABSOLUTE)
def test_exceptions_to_scaling_are_needed(name: str):
    once, _ = run(value_of(name, INPUTS))
    small_ones, _ = run(value_of(name, scaled(2.0**-20)))
    assert any(not np.allclose(small_ones[key] * 2.0**20, once[key], rtol=2e-6) for key in once)


@pytest.mark.parametrize("name", SYMMETRIC)
def test_the_order_of_equals_does_not_matter(name: str):
    method = METHODS[name].call
    lists = [[b, c], [c, b]] if "base" in str(METHODS[name].signature) else [[a, b, c], [c, b, a]]
    first, second = (
        run(method(a, models) if "base" in str(METHODS[name].signature) else method(models))[0] for models in lists
    )
    for tensor in first:
        np.testing.assert_allclose(first[tensor], second[tensor], rtol=1e-6, err_msg=tensor)


DENSE = [
    ("graft(base, chat, density=1)", "chat"),
    ("random_graft(base, chat, density=1)", "chat"),
    ("dare(base, [chat, code], densities=1)", "task_arithmetic(base, [chat, code])"),
    ("della(base, [chat, code], densities=1, epsilons=0)", "task_arithmetic(base, [chat, code])"),
    ("breadcrumbs(base, [chat, code], densities=1, gammas=0)", "task_arithmetic(base, [chat, code])"),
    ("dare_ties(base, [chat, code], densities=1)", "ties(base, [chat, code], densities=1)"),
    ("della_ties(base, [chat, code], densities=1, epsilons=0)", "ties(base, [chat, code], densities=1)"),
    ("breadcrumbs_ties(base, [chat, code], densities=1, gammas=0)", "ties(base, [chat, code], densities=1)"),
    ("consensus(base, [chat, code], thresholds=0, least=1)", "task_arithmetic(base, [chat, code])"),
    ("ema_of([base, chat, code], decay=0)", "code"),
    ("wise_ft(base, chat, alpha=0)", "base"),
    ("lawa([base, chat, code], last=3)", "soup([base, chat, code])"),
    ("expo(base, chat, alpha=0)", "chat"),
    ("perpendicular(chat, code, base, alpha=0)", "chat"),
]


@pytest.mark.parametrize(("sparse", "dense"), DENSE)
def test_density_1_is_the_dense_method(sparse: str, dense: str):
    left, right = (run(evaluate(text, INPUTS, CALLABLES))[0] for text in (sparse, dense))
    for tensor in left:
        np.testing.assert_array_equal(left[tensor], right[tensor], err_msg=tensor)


RANDOM = [name for name, declared in METHODS.items() if any(p.name == "seed" for p in declared.signature.parameters)]


@pytest.mark.parametrize("name", RANDOM)
def test_seeds_change_random_methods(name: str):
    first, again, other = (run(values(name, seed=seed))[0] for seed in (1, 1, 2))
    assert_same_bits(first, again, name)
    assert any((first[tensor] != other[tensor]).any() for tensor in first)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in RANDOM])
def test_methods_without_a_seed_draw_nothing(name: str):
    assert not {node.op for node in topological([values(name)])} & {"random", "bernoulli"}


def test_models_of_one_seed_have_masks_of_their_own():
    twice = METHODS["dare"].call(a, [b, b], densities=0.5, weights=[1, -1])
    got, _ = run(twice)
    assert any((got[tensor] != A[tensor]).any() for tensor in got)
