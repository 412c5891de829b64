"""PCB-Merging: parameter competition balancing."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, Number, PlainShare, Scope
from weightmath.functions import method

TAIL = 1e-4


@method
def pcb(
    base: Model,
    models: Sequence[Model],
    *,
    ratio: PlainShare = 0.1,
    scale: Number = 1,
    scope: Scope = "global",
) -> Vector:
    """Weight each element by its size among its task's and its accord with the other tasks; drop the weakest.

    Formula:    ci = |ti| clamped to its 0.01% and 99.99% quantiles, ti = mi - base; ai = ci stretched to 0..1;
                bi = exp(n ai^2) tanh(ti (t1 + .. + tn));  wi = bi from its (1 - ratio) quantile to its maximum,
                stretched to 0..1, 0 below;
                base + scale * sum(wi sign(ti) ci) / sum(wi)
    Parameters: ratio     share of elements kept per model, 0 to 1 (0.1; the paper also uses 0.05)
                scale     the paper's lambda (1; it searches 0.8 to 1.3 per task)
    Scope:      what quantiles and maxima are taken of: global (default, the paper's), layer, tensor, row.
    Passes:     global and layer: 3 reads, at most 7. tensor and row: 1, re-reading larger tensors from the page cache.
    Fails:      where base or a model is no model.
    Reference:  Du et al., Parameter competition balancing for model merging, arXiv 2410.02396; the formula is that of
                the authors' code.
    Differs:    the authors take the nearest order statistic where we interpolate. The tanh of a product of small
                numbers is nearly that product, so the result does not scale with the deltas.
    Recipe:     `merged: pcb(base, [chat, code], ratio=0.1)`
    """
    deltas = [model - base for model in models]
    total = f.sum(deltas)
    weighed = [_weighed(delta, total, len(deltas), ratio, scope) for delta in deltas]
    mass = f.sum([weight for weight, _ in weighed])
    merged = f.sum([weight * clamped for weight, clamped in weighed])
    return base + scale * (merged / f.where(mass == 0, 1, mass))


def _weighed(delta: Vector, total: Vector, models: int, ratio: float, scope: str) -> tuple[Vector, Vector]:
    """The weights of a delta's elements, and the delta without its tails."""
    size = f.abs(delta)
    low, high = f.quantile(size, TAIL, scope=scope), f.quantile(size, 1 - TAIL, scope=scope)
    balance = f.exp(models * _stretched(size, low, high) ** 2) * f.tanh(delta * total)
    edge, top = f.quantile(balance, 1 - ratio, scope=scope), f.max(balance, scope=scope)
    return _stretched(balance, edge, top), f.sign(delta) * f.clamp(size, low, high)


def _stretched(x: Vector, low: Vector, high: Vector) -> Vector:
    """x from low..high to 0..1, limited to it; 0 where low is high."""
    width = high - low
    return f.clamp((x - low) / f.where(width == 0, 1, width), 0, 1)
