"""Arcee Fusion: take over the elements whose change stands out."""

from __future__ import annotations

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, Scope
from weightmath.functions import method


@method
def arcee_fusion(base: Model, model: Model, *, scope: Scope = "tensor") -> Vector:
    """Take the elements of a fine-tune that changed unusually much, in rows whose softmax changed, and keep the others.

    Formula:    model where v >= median(v) + 1.5 (q75(v) - q25(v)), base elsewhere;
                v = |model - base| KL(softmax(model) || softmax(base)), softmax and divergence per row
    Scope:      what the quantiles are taken of: tensor (default), row, layer, global. Rows are slices along the first
                axis.
    Passes:     global and layer: 2 reads, at most 4. tensor and row: 1, re-reading larger tensors from the page cache.
    Fails:      where base or model is no model.
    Reference:  Arcee AI, mergekit's merge method arcee_fusion.
    Differs:    mergekit takes the softmax along the last axis, which differs for tensors of three and more dimensions,
                adds 1e-8 to probabilities, and estimates quantiles from a million elements.
    Recipe:     `merged: arcee_fusion(base, chat)`
    """
    importance = f.abs(model - base) * _divergence(model, base)
    quartile, middle, third = (f.quantile(importance, q, scope=scope) for q in (0.25, 0.5, 0.75))
    return f.where(importance >= middle + 1.5 * (third - quartile), model, base)


def _divergence(a: Vector, b: Vector) -> Vector:
    """KL(softmax(a) || softmax(b)) per row: sum(p (a - b)) / sum(p) - log sum exp(a) + log sum exp(b)."""
    # The difference of logarithms would cancel in float32; as statistics they are float64.
    top_a, top_b = f.max(a, scope="row"), f.max(b, scope="row")
    raised_a, raised_b = f.exp(a - top_a), f.exp(b - top_b)
    sum_a, sum_b = f.sum(raised_a, scope="row"), f.sum(raised_b, scope="row")
    divergence = f.dot(raised_a, a - b, scope="row") / sum_a - (f.log(sum_a / sum_b) + top_a - top_b)
    return f.maximum(divergence, 0)
