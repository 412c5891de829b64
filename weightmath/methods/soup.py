"""Uniform soup: the plain mean of models."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model
from weightmath.functions import method


@method
def soup(models: Sequence[Model]) -> Vector:
    """Average models with equal weights.

    Formula:    (m1 + .. + mn) / n
    Scope:      element by element.
    Passes:     1.
    Fails:      on an empty list, or where one is no model.
    Reference:  Wortsman et al., Model soups, arXiv 2203.05482. Of checkpoints of one run it is stochastic weight
                averaging (SWA, Izmailov et al., arXiv 1803.05407).
    Differs:    the authors' code divides integer buffers too; here they come from the template. SWA recomputes
                BatchNorm statistics on data afterwards (torch.optim.swa_utils.update_bn), which no tool without data
                can do. `median([a, b, c])` is the robust relative: the middle value of each element.
    Recipe:     `merged: soup([base, chat, code])`
    """
    return f.mean(models)
