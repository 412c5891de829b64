"""The affine weight of every operation: what makes `base + chat` an error and `(base + chat) / 2` a model.

A model has weight 1, a delta 0. A number or statistic weighs 0 as a term and multiplies as a factor. Weights are taken
per tensor, since a factor may be a table of patterns; NaN is "unknown". They are checked at the boundaries only: what
is saved, a declared argument, an input's `kind:`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from weightmath.algebra.graph import Vector
from weightmath.algebra.names import Numbers
from weightmath.algebra.show import COMPARISONS, LOGIC
from weightmath.errors import KindError
from weightmath.scope import Domain

UNKNOWN = np.nan
TOLERANCE = 1e-6
KIND_WEIGHTS = {"model": 1.0, "delta": 0.0}

Rule = Callable[[Vector, Sequence[Numbers], Sequence["Numbers | None"]], Numbers]


def _product(node: Vector, weights: Sequence[Numbers], static: Sequence[Numbers | None]) -> Numbers:
    a, b = node.args
    if a.domain == b.domain == Domain.ELEMENT:
        zero = np.zeros(len(weights[0]), dtype=bool)
        for arg, weight in zip(node.args, weights, strict=True):
            if not arg.is_mask:
                zero |= weight == 0
        return np.where(zero, 0.0, UNKNOWN)
    vector, factor = (0, 1) if a.domain == Domain.ELEMENT else (1, 0)
    return _scaled(weights[vector], static[factor], np.multiply)


def _quotient(node: Vector, weights: Sequence[Numbers], static: Sequence[Numbers | None]) -> Numbers:
    if node.args[0].domain < Domain.ELEMENT:
        return np.full(len(weights[0]), UNKNOWN)
    return _scaled(weights[0], static[1], np.divide)


def _scaled(weight: Numbers, factor: Numbers | None, operation: np.ufunc) -> Numbers:
    """A factor that only the data decide keeps a delta a delta, and leaves anything else unknown."""
    if factor is None:
        return np.where(weight == 0, 0.0, UNKNOWN)
    scaled = np.full(len(weight), UNKNOWN)
    return np.asarray(operation(weight, factor, out=scaled, where=~((operation is np.divide) & (factor == 0))))


def _common(node: Vector, weights: Sequence[Numbers], static: Sequence[Numbers | None]) -> Numbers:
    same = np.ones(len(weights[0]), dtype=bool)
    for weight in weights[1:]:
        same &= weight == weights[0]
    return np.where(same, weights[0], UNKNOWN)


def _chosen(node: Vector, weights: Sequence[Numbers], static: Sequence[Numbers | None]) -> Numbers:
    mask, a, b = static[0], weights[1], weights[2]
    return _common(node, [a, b], static) if mask is None else np.where(mask != 0, a, b)


def _other(node: Vector, weights: Sequence[Numbers], static: Sequence[Numbers | None]) -> Numbers:
    """Any other function: a function of deltas alone counts as a delta, all else is unknown."""
    zero = np.all([weight == 0 for weight in weights], axis=0)
    return np.where(zero, 0.0, UNKNOWN)


_WEIGHTLESS = (*COMPARISONS, *LOGIC, "largest_mask", "bernoulli", "random", "rank", "constant", "by_name")
RULES: Mapping[str, Rule] = {
    "add": lambda node, weights, static: weights[0] + weights[1],
    "subtract": lambda node, weights, static: weights[0] - weights[1],
    "negative": lambda node, weights, static: -weights[0],
    "multiply": _product,
    "divide": _quotient,
    **dict.fromkeys(("minimum", "maximum", "median"), _common),
    "where": _chosen,
    **dict.fromkeys(_WEIGHTLESS, lambda node, weights, static: np.zeros(1)),
    **dict.fromkeys(("declared", "only"), lambda node, weights, static: weights[0]),
    "cast": lambda node, weights, static: np.full_like(weights[0], KIND_WEIGHTS[node.option("kind")]),
}


def weights_of(
    node: Vector, args: Sequence[Numbers], static: Sequence[Numbers | None], present: Sequence[np.ndarray], tensors: int
) -> Numbers:
    """The weight of a node per tensor, from its operands' weights, static values and presence."""
    if node.op == "input":
        assert node.source is not None
        return np.full(tensors, KIND_WEIGHTS.get(node.source.kind, 0.0 if node.is_mask else UNKNOWN))
    if node.domain < Domain.ELEMENT:
        return np.zeros(tensors)
    if node.op == "overlay":
        return np.where(present[1], args[1], args[0])
    weights = RULES.get(node.op, _other)(node, args, static)
    return np.broadcast_to(weights, (tensors,))


def check(kind: str, weights: Numbers, what: Callable[[], str]) -> None:
    """KindError when a vector that must be of this kind is known to be something else; `what` is what it is called."""
    wrong = ~np.isnan(weights) & (np.abs(weights - KIND_WEIGHTS[kind]) > TOLERANCE)
    if wrong.any():
        weight = float(weights[wrong][0])
        raise KindError(f"{what()} must be a {kind}, and {_meaning(weight)}", hint=_way_out(kind, weight))


def kind_of(weights: Numbers) -> str:
    """The kind in a word: model, delta, `weight 2`, unknown, or mixed."""
    if len(weights) == 0 or np.isnan(weights).any():
        return "unknown"
    for kind, weight in KIND_WEIGHTS.items():
        if np.all(np.abs(weights - weight) <= TOLERANCE):
            return kind
    return f"weight {weights[0]:g}" if np.all(weights == weights[0]) else "mixed"


def _meaning(weight: float) -> str:
    if abs(weight) <= TOLERANCE:
        return "this is a delta: its weights cancel (weight 0)"
    if abs(weight - 1) <= TOLERANCE:
        return "this is a model (weight 1)"
    return f"this has weight {weight:g}: it adds up to {weight:g} models"


def _way_out(kind: str, weight: float) -> str:
    if abs(weight) <= TOLERANCE:
        return "add it to a model: base + delta; or say that it is one: model(x)"
    if kind == "delta":
        return "subtract the base: x - base; or say that it is a delta: delta(x)"
    if weight < 0:
        return "check the signs: the weights of all models add up to 1; or say model(x)"
    average = f"divide by {weight:g} for an average"
    rest = "subtract the base from all but one (base + (chat - base)), or say model(x) or, of a stored delta, delta(x)"
    return f"{average}, {rest}"
