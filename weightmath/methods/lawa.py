"""LAWA: the mean of the latest checkpoints of a run."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Count, Model
from weightmath.errors import RecipeError
from weightmath.functions import method


@method
def lawa(models: Sequence[Model], *, last: Count) -> Vector:
    """Average the last k checkpoints of an ordered list.

    Formula:    (m(n-k+1) + .. + mn) / k, with k = last
    Parameters: last      the number of checkpoints, 1 to the length of the list
    Scope:      element by element.
    Passes:     1; earlier checkpoints are not read.
    Fails:      when `last` exceeds the length of the list.
    Reference:  Kaddour, Stop wasting my time! Saving days of ImageNet and BERT training with latest weight averaging,
                arXiv 2209.14981.
    Differs:    the paper slides the window along a run and saves each mean; this is one position of the window.
    Recipe:     `merged: lawa([base, chat, code], last=2)`
    """
    if last > len(models):
        raise RecipeError(f"lawa() cannot average the last {last} of {len(models)} models")
    return f.mean(models[-last:])
