"""What a vector is as a sum of inputs: its coefficients, where it is linear in them with numbers known beforehand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from weightmath.algebra.graph import Vector, topological
from weightmath.algebra.names import Numbers
from weightmath.engine.plan import Plan
from weightmath.scope import Domain

Coefficients = Mapping[Vector, Numbers]
_TOLERANCE = 1e-9


@np.errstate(all="ignore")
def coefficients(root: Vector, plan: Plan) -> Coefficients | None:
    """For each input its coefficient per tensor, or None where the vector is not such a sum, or one is not finite."""
    static, present = plan.facts.static, plan.facts.present
    found: dict[Vector, dict[Vector, Numbers] | None] = {}
    for node in topological([root]):
        if node.domain < Domain.ELEMENT:
            continue
        args = [found.get(arg) for arg in node.args]
        if node.op == "input":
            found[node] = {node: present[node].astype(np.float64)}
        elif node.op in ("declared", "cast"):
            found[node] = args[0]
        elif node.op == "only":
            found[node] = _scaled(args[0], present[node].astype(np.float64))
        elif node.op == "overlay":
            part = present[node.args[1]].astype(np.float64)
            found[node] = _added(_scaled(args[0], 1 - part), _scaled(args[1], part), 1.0)
        elif node.op in ("add", "subtract"):
            found[node] = _added(args[0], args[1], -1.0 if node.op == "subtract" else 1.0)
        elif node.op == "negative":
            found[node] = _scaled(args[0], -1.0)
        elif node.op == "multiply":
            vector, factor = (1, 0) if node.args[0].domain < Domain.ELEMENT else (0, 1)
            found[node] = _scaled(args[vector], static.get(node.args[factor]))
        elif node.op == "divide" and node.args[1] in static:
            found[node] = _scaled(args[0], 1 / static[node.args[1]])
        elif node.op == "where" and node.args[0] in static:
            mask = static[node.args[0]]
            found[node] = _added(_scaled(args[1], mask), _scaled(args[2], 1 - mask), 1.0)
        else:
            found[node] = None
    terms = found.get(root)
    is_finite = terms is not None and all(np.isfinite(coefficient).all() for coefficient in terms.values())
    return terms if is_finite else None


def _scaled(terms: dict[Vector, Numbers] | None, factor: Numbers | float | None) -> dict[Vector, Numbers] | None:
    if terms is None or factor is None:
        return None
    return {vector: coefficient * factor for vector, coefficient in terms.items()}


def _added(
    a: dict[Vector, Numbers] | None, b: dict[Vector, Numbers] | None, sign: float
) -> dict[Vector, Numbers] | None:
    if a is None or b is None:
        return None
    total = dict(a)
    for vector, coefficient in b.items():
        total[vector] = total[vector] + sign * coefficient if vector in total else sign * coefficient
    return total


def is_average(root: Vector, plan: Plan) -> bool:
    """Whether it is an average in every tensor that it has: coefficients of at least 0, those of models add up to 1.

    A delta stands for a model less its base. So those of deltas add up to at most 1: base + d is the model, and
    base + d / 2 halfway to it.
    """
    terms = coefficients(root, plan)
    if terms is None:
        return False
    there = plan.facts.present[root]
    models, deltas = np.zeros((2, len(there)))
    for vector, coefficient in terms.items():
        if (coefficient < -_TOLERANCE)[there].any():
            return False
        if plan.kind(vector) == "delta":
            deltas += coefficient
        else:
            models += coefficient
    return bool((np.abs(models - 1) <= _TOLERANCE)[there].all() and (deltas <= 1 + _TOLERANCE)[there].all())


def is_difference(root: Vector, plan: Plan) -> bool:
    """Whether it is a delta that is a sum of inputs: models that add up to 0, or deltas."""
    return plan.kind(root) == "delta" and coefficients(root, plan) is not None
