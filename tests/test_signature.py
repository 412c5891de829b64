"""Signatures as schemas: what annotations say, how calls are bound, how signatures print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import pytest

from weightmath.algebra.graph import Input, Vector, input_vector
from weightmath.algebra.names import Table
from weightmath.algebra.signature import (
    Delta,
    Density,
    Flag,
    Mask,
    Model,
    Number,
    PerModel,
    Role,
    Scope,
    Seed,
    checked,
    per_model,
    signature_of,
)
from weightmath.errors import KindError, RecipeError
from weightmath.layout import Layout

a, b = (input_vector(Input(name, Layout(()))) for name in "ab")
Choice = Annotated[str, Role("text", choices=("linear", "cosine"))]
Positive = Annotated[Vector | float, Role("number", 0, low_open=True)]


def merge(
    base: Model,
    models: Sequence[Model],
    *,
    weights: PerModel[Number] = 1,
    densities: PerModel[Density] = 0.2,
    scale: Positive = 1,
    scope: Scope = "global",
    rescale: Flag = True,
    seed: Seed | None = None,
    curve: Choice = "linear",
) -> dict[str, Any]:
    return locals() | {"locals": True}


def apart(base: Model, delta: Delta, mask: Mask, *more: Number) -> tuple[Any, ...]:
    return base, delta, mask, more


call = checked(merge, "merge")


def test_what_a_signature_says():
    signature = signature_of(merge, "merge")
    assert str(signature) == (
        "merge(base, models, *, weights=1, densities=0.2, scale=1, "
        'scope="global", rescale=true, seed=None, curve="linear")'
    )
    base, models, weights, densities, *_ = signature.parameters
    assert (base.role.word, base.required, base.listed, base.keyword) == ("model", True, False, False)
    assert (models.role.word, models.listed, models.per_model) == ("model", True, False)
    assert (weights.role.word, weights.per_model, weights.default) == ("number", True, 1)
    assert densities.role.range == "in [0, 1]"
    assert str(signature_of(apart, "apart")) == "apart(base, delta, mask, *more)"


@pytest.mark.parametrize(
    ("role", "text", "inside", "outside"),
    [
        (Role("number"), "", [-1e9, 1e9], []),
        (Role("number", 0, 1), "in [0, 1]", [0, 1, 0.5], [-0.1, 1.1]),
        (Role("number", 0, low_open=True), "in (0, inf)", [1e-9, 1e9], [0, -1]),
        (Role("number", high=1), "in (-inf, 1]", [-5, 1], [1.1, 2]),
        (Role("text", choices=("a", "b")), "a | b", [], []),
    ],
)
def test_ranges(role, text, inside, outside):
    assert role.range == text
    assert all(map(role.holds, inside))
    assert not any(map(role.holds, outside))


def test_arguments_are_converted():
    got = call(a, [b, b], weights=[1, 2], densities=Table((("*", 0.5),)), scope="layer", seed=7.0)
    assert got["weights"] == [1.0, 2.0]
    assert isinstance(got["weights"][0], float)
    assert isinstance(got["densities"], Vector)
    assert (got["seed"], type(got["seed"])) == (7, int)
    assert (got["scale"], got["scope"], got["curve"]) == (1, "layer", "linear")
    assert got["base"].op == "declared"
    assert got["base"].args == (a,)


def test_positional_arguments_by_name():
    assert call(models=[a], base=b)["base"].args[0] is b
    base, delta, mask, more = checked(apart, "apart")(a, b, a > b, 1, 2)
    assert (base.option("kind"), delta.option("kind"), mask is (a > b), more) == ("model", "delta", True, (1.0, 2.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: call(a), "`models` is missing"),
        (lambda: call(a, [b], [b]), "takes 2 positional arguments, not 3"),
        (lambda: call(a, b, a), "put them in brackets: merge(a, [b, a])"),
        (lambda: call(a, b, 0.5), 'name the options, as in scope="global"'),
        (lambda: call(a, b), "`models` must be a list"),
        (lambda: call(a, []), "`models` is an empty list"),
        (lambda: call([a], [b]), "`base` takes one model, not a list"),
        (lambda: call(0.5, [b]), "`base` must be a model, not `0.5`"),
        (lambda: call(a, [b], weights=[1, 2]), "`weights` has 2 values for 1 models"),
        (lambda: call(a, [b], weights=b), "`weights` must be a number, a table of patterns or a statistic, not `b`"),
        (lambda: call(a, [b], densities=[1.5]), "`densities` must be in [0, 1], not 1.5"),
        (lambda: call(a, [b], densities=Table((("*", -1),))), "`densities` must be in [0, 1], not -1"),
        (lambda: call(a, [b], scale=0), "`scale` must be in (0, inf), not 0"),
        (lambda: call(a, [b], scale=[1]), "takes one number, not a list"),
        (lambda: call(a, [b], rescale=1), "`rescale` must be true or false, not `1`"),
        (lambda: call(a, [b], seed=True), "`seed` must be a whole number, not `true`"),
        (lambda: call(a, [b], seed=float("inf")), "`seed` must be a whole number, not `inf`"),
        (lambda: call(a, [b], seed=float("nan")), "`seed` must be a whole number, not `nan`"),
        (lambda: call(a, [b], curve="cosin"), "did you mean `cosine`"),
        (lambda: call(a, [b], curve="x"), "one of: linear cosine"),
        (lambda: call(a, [b], weigths=1), "unknown parameter `weigths`"),
        (lambda: call(a, [b], weigths=1), "did you mean `weights`"),
        (lambda: checked(apart, "apart")(a, b, a), "`mask` must be a mask, not `a`"),
    ],
)
def test_refused(make, message):
    with pytest.raises((RecipeError, KindError)) as caught:
        make()
    assert message in str(caught.value)
    assert str(caught.value).startswith(("merge(): ", "apart(): "))


def test_models_with_their_values():
    assert list(per_model([a, b], 1, [2, 3])) == [(a, 1, 2), (b, 1, 3)]
