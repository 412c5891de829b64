"""Values of `show` and `expect`: arithmetic on statistics after the run, a number or one number per cell."""

from __future__ import annotations

from typing import Any

import numpy as np

from weightmath.algebra.formulas import FORMULAS
from weightmath.algebra.graph import Vector
from weightmath.engine.plan import STATISTICS, statistics_below
from weightmath.engine.tables import Tables
from weightmath.kernels.solvers import solve
from weightmath.scope import Domain, Scope


def watched_value(node: Vector, tables: Tables) -> Any:
    """The value of a statistic: a number where it is the same everywhere, else a mapping from cell or tensor name.

    Rows of a tensor are an array with one number for each. What is a truth value is `True` or `False`.
    """
    number: type[bool] | type[float] = bool if node.is_mask else float
    values = _per_entry(node, tables)
    names = tables.plan.layout.names
    if not values:
        return number(0) if node.domain <= Domain.GLOBAL else {}
    if node.domain <= Domain.GLOBAL:
        return number(values[0]) if np.ndim(values[0]) == 0 else np.asarray(values[0])
    scopes = {below.option("scope") for below in statistics_below([node]) if below.domain == Domain.GROUP}
    if node.domain == Domain.GROUP and len(scopes) == 1:
        names = tuple(map(Scope(*scopes).cell, names))
    if node.domain == Domain.ROW:
        rows = [entry.rows for entry in tables.plan.layout]
        own = [np.reshape(value, -1).astype(number) for value in values]
        values = [np.broadcast_to(value, count) for value, count in zip(own, rows, strict=True)]
    return {name: number(value) if np.ndim(value) == 0 else value for name, value in zip(names, values, strict=True)}


def _per_entry(root: Vector, tables: Tables) -> list[Any]:
    """The value for each entry, operands first."""
    entries = range(len(tables.plan.layout))
    values: dict[Vector, list[Any]] = {}
    pending = [root]
    while pending:
        node = pending[-1]
        missing = [] if _is_leaf(node, tables) else [arg for arg in node.args if arg not in values]
        if missing:
            pending += missing
            continue
        pending.pop()
        values[node] = [_one(node, entry, values, tables) for entry in entries]
    return values[root]


def _is_leaf(node: Vector, tables: Tables) -> bool:
    return node.op in STATISTICS or node in tables.plan.facts.static


def _one(node: Vector, entry: int, values: dict[Vector, list[Any]], tables: Tables) -> Any:
    if node in tables.plan.facts.static:
        return float(tables.plan.facts.static[node][entry])
    if node.op in STATISTICS:
        return tables.value(node, entry)
    operands = [values[arg][entry] for arg in node.args]
    if node.op == "coefficients":
        return solve(node, operands[0], operands[1:])[0]
    if node.op == "item":
        return operands[0][node.option("index")]
    with np.errstate(all="ignore"):
        return FORMULAS[node.op](*operands)
