"""Reductions: of a list element by element over its vectors, or of one vector over the cells of a scope.

`sum mean median max min` mean both, so a statistic must name its scope. A statistic is a vector that is constant on its
cells; reducing it again counts elements. Sums are folded in float64, tile by tile in flat order. An empty cell gives 0.

Scopes: row (a slice along the first axis), tensor, layer (the name up to its first number), global, `re:...`.
Passes: none for cells within one tile; tensor re-reads that tensor; layer, global and `re:` share one over the model.
"""

from __future__ import annotations

import builtins
import operator
from collections.abc import Sequence
from functools import reduce
from typing import Annotated, Any

from weightmath.algebra.graph import Vector, elementwise, node, vector
from weightmath.algebra.signature import AnyVector, Number, PerModel, PlainShare, Role, Scope, Value, per_model
from weightmath.errors import RecipeError
from weightmath.functions.declare import function
from weightmath.scope import Domain
from weightmath.scope import Scope as ScopeRule

VectorOrList = Annotated[Any, Role("vector or list")]


def reduction(name: str, *args: Vector, scope: str) -> Vector:
    """A node that reduces its operands over the cells of a scope."""
    rule = ScopeRule.parse(scope)
    return node(name, *args, domain=rule.domain, scope=rule.name)


def _over_list(name: str, op: str, x: Sequence[Value], scope: str | None) -> Vector:
    if scope is not None:
        raise RecipeError(f"{name}() of a list is taken element by element and has no scope")
    if not x:
        raise RecipeError(f"{name}() of an empty list")
    return reduce(lambda a, b: elementwise(op, a, b), x[1:], vector(x[0]))


def _over_cells(name: str, x: Value, scope: str | None) -> Vector:
    if scope is None:
        raise RecipeError(
            f"{name}() of one vector is a statistic and must name its scope",
            hint=f'{name}(x, scope="tensor"), or a list: {name}([a, b])',
        )
    return reduction(name, vector(x), scope=scope)


@function
def sum(x: VectorOrList, *, scope: Scope | None = None) -> Vector:
    """The sum: of a list, element by element, in the list's order; of a vector, over each cell of the scope.

    Recipe: `both: base + sum([chat - base, code - base])`
    """
    return _over_list("sum", "add", x, scope) if isinstance(x, list | tuple) else _over_cells("sum", x, scope)


@function
def mean(x: VectorOrList, *, scope: Scope | None = None) -> Vector:
    """The mean: of a list, element by element, (x1 + .. + xn) / n; of a vector, over each cell of the scope.

    Recipe: `soup: mean([base, chat, code])`
    """
    if isinstance(x, list | tuple):
        return _over_list("mean", "add", x, scope) / len(x)
    return _over_cells("mean", x, scope)


@function
def median(x: VectorOrList, *, scope: Scope | None = None) -> Vector:
    """The median: of a list, element by element; of a vector, over each cell of the scope (exact, like `quantile`).

    An even number of values gives the mean of the two in the middle.
    Recipe: `middle: median([base, chat, code])`
    """
    if isinstance(x, list | tuple):
        if scope is not None or not x:
            return _over_list("median", "add", x, scope)
        return elementwise("median", *x)
    if scope is None:
        return _over_cells("median", x, scope)
    return quantile(x, 0.5, scope=scope)


@function
def max(x: VectorOrList, *, scope: Scope | None = None) -> Vector:
    """The largest value: of a list, element by element; of a vector, over each cell of the scope.

    Recipe: `top: max([chat - base, code - base])`
    """
    return _over_list("max", "maximum", x, scope) if isinstance(x, list | tuple) else _over_cells("max", x, scope)


@function
def min(x: VectorOrList, *, scope: Scope | None = None) -> Vector:
    """The smallest value: of a list, element by element; of a vector, over each cell of the scope.

    Recipe: `bottom: min([chat - base, code - base])`
    """
    return _over_list("min", "minimum", x, scope) if isinstance(x, list | tuple) else _over_cells("min", x, scope)


@function
def weighted_mean(x: Sequence[Value], weights: PerModel[Number]) -> Vector:
    """The weighted mean of a list, element by element: (w1 x1 + .. + wn xn) / (w1 + .. + wn).

    `weights`: a number, table or statistic for each vector. Fails when plain weights add up to 0.
    Recipe: `mix: weighted_mean([base, chat, code], [2, 1, 1])`
    """
    pairs = list(per_model(x, weights))
    total = reduce(operator.add, (weight for _, weight in pairs))
    if isinstance(total, int | float) and total == 0:
        raise RecipeError("the weights add up to 0")
    terms = [elementwise("multiply", weight, each) for each, weight in pairs]
    return elementwise("divide", _over_list("sum", "add", terms, None), total)


@function
def std(x: Value, *, scope: Scope = "global") -> Vector:
    """The population standard deviation, sqrt(mean((x - mean(x))^2)); 0 for a single element.

    torch.std divides by n - 1 and gives NaN for a single element.
    Recipe: `noisy: base + 0.01 * std(base, scope="tensor") * gaussian(seed=7)`
    """
    return reduction("std", vector(x), scope=scope)


@function
def norm(x: Value, *, scope: Scope = "global") -> Vector:
    """The Euclidean norm, sqrt(sum(x^2)).

    Recipe: `unit: (chat - base) / norm(chat - base)`
    """
    return reduction("norm", vector(x), scope=scope)


@function
def dot(a: Value, b: Value, *, scope: Scope = "global") -> Vector:
    """The inner product, sum(a b).

    Recipe: `along: dot(chat - base, code - base) / norm(code - base) ** 2`
    """
    return reduction("dot", vector(a), vector(b), scope=scope)


@function
def cosine(a: Value, b: Value, *, scope: Scope = "global") -> Vector:
    """The cosine of the angle, sum(a b) / (norm(a) norm(b)); 0 with a zero vector.

    Recipe: `likeness: cosine(chat - base, code - base, scope="layer")`
    """
    return reduction("cosine", vector(a), vector(b), scope=scope)


@function
def count(x: Value, *, scope: Scope = "global") -> Vector:
    """The number of elements that are not 0 (true, for a mask).

    Recipe: `moved: count(chat != base)`
    """
    return reduction("count", vector(x), scope=scope)


@function
def density(x: Value, *, scope: Scope = "global") -> Vector:
    """The share of elements that are not 0, 0 to 1.

    Recipe: `share: density(chat - base, scope="tensor")`
    """
    return reduction("density", vector(x), scope=scope)


@function
def all(mask: Value) -> Vector:
    """1 if the mask, or every cell of a statistic that is compared, is true everywhere; else 0.

    Recipe: `close: all(cosine(chat, base, scope="layer") > 0.5)`
    """
    return reduction("min", vector(mask), scope="global")


@function
def any(mask: Value) -> Vector:
    """1 if the mask, or any cell of a statistic that is compared, is true; else 0.

    Recipe: `moved: any(chat != base)`
    """
    return reduction("max", vector(mask), scope="global")


@function
def quantile(x: Value, q: PlainShare, *, scope: Scope = "global") -> Vector:
    """The q-quantile, exact: linear interpolation between the two nearest order statistics (numpy's `linear`).

    NaN where a cell holds one, as in numpy.
    Passes: tensor and row re-read larger tensors; layer, global and `re:` take two reads of the model, at most four.
    Recipe: `edge: quantile(abs(chat - base), 0.99, scope="tensor")`
    """
    rule = ScopeRule.parse(scope)
    return node("quantile", vector(x), domain=rule.domain, scope=rule.name, q=q)


@function
def gram(x: Sequence[AnyVector], *, scope: Scope = "global") -> Vector:
    """The matrix of inner products of a list, G[i, j] = sum(xi xj), for `coefficients`.

    Taken of the vectors as they are: for a Gram matrix of deltas give deltas, `gram([a - base, b - base])`.
    Recipe: `g: gram([chat - base, code - base], scope="layer")`
    """
    return reduction("gram", *x, scope=scope)


def coefficients(solver: str, matrix: Vector, *numbers: Any, **options: Any) -> Vector:
    """One coefficient per vector of a Gram matrix, worked out in float64 per cell by a named solver; index it with [i].

    `numbers`: what the solver takes besides, such as weights: numbers, tables or statistics.
    """
    args = (matrix, *(vector(number) for number in numbers))
    return node("coefficients", *args, domain=builtins.max(arg.domain for arg in args), solver=solver, **options)


CONSTANT = Domain.CONSTANT
