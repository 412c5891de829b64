"""Model Stock: how far to go from the base to the average, by the angle between the task vectors."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Flag, Model, Scope
from weightmath.errors import RecipeError
from weightmath.functions import method


@method
def model_stock(base: Model, models: Sequence[Model], *, clip: Flag = True, scope: Scope = "tensor") -> Vector:
    """Interpolate from the base to the average of fine-tuned models, as far as their task vectors agree.

    Formula:    t mean(m1 .. mn) + (1-t) base with t = n c / (1 + (n-1) c), c the mean over all pairs of models of the
                cosine between their task vectors mi - base
    Parameters: clip    whether task vectors that disagree (c < 0) give t = 0, the base (true); false takes the formula
                        as it is: t < 0 leaves the base away from the average
    Scope:      what a cosine is taken of: tensor (default: what the paper calls a layer), row (filter-wise), layer,
                global.
    Passes:     row: 1. tensor: each tensor beyond one tile is read twice. layer, global: 2.
    Fails:      with fewer than two models. A zero task vector has cosine 0 with the others; t is 0 where the formula
                divides by 0, at c = -1/(n-1).
    Reference:  Jang, Yun and Han, Model Stock: all we need is just a few fine-tuned models, arXiv 2403.19522; that c is
                the mean over all pairs was confirmed by its authors (mergekit, issue 453).
    Differs:    mergekit means the cosines, as here, but counts products of norms below 1e-6 as 1e-6, so that tensors
                with small task vectors stay near the base. fusion_bench means the angles, in degrees; sd-mecha takes
                adjacent pairs only, per row of the last axis. One set of inputs gave -0.195, -0.183 and 0.198 for t.
    Recipe:     `merged: model_stock(base, [chat, code])`
    """
    if len(models) < 2:
        raise RecipeError("takes at least two models", where="model_stock()", hint="lerp(base, chat, t) takes one")
    deltas = [model - base for model in models]
    share = f.coefficients("model_stock", f.gram(deltas, scope=scope), clip=clip)
    return base + share[0] * f.sum(deltas)
