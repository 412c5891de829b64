"""MagMax: of all task vectors, the largest element."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, Number
from weightmath.functions import method


@method
def magmax(base: Model, models: Sequence[Model], *, scale: Number = 0.5) -> Vector:
    """Take each element from the model that moved it most.

    Formula:    base + scale * (mi - base), i the model with the largest |mi - base|; of equals the first
    Parameters: scale     the paper's lambda (0.5)
    Scope:      element by element.
    Passes:     1.
    Fails:      where base or a model is no model.
    Reference:  Marczak et al., MagMax, arXiv 2407.06322.
    Differs:    the authors' code and fusion_bench let the last of equals win.
    Recipe:     `merged: magmax(base, [chat, code])`
    """
    return base + scale * reduce(_larger, [model - base for model in models])


def _larger(a: Vector, b: Vector) -> Vector:
    return f.where(f.abs(b) > f.abs(a), b, a)
