"""ExPO: extrapolate beyond a fine-tune."""

from __future__ import annotations

from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, NonNegative
from weightmath.functions import method


@method
def expo(base: Model, model: Model, *, alpha: NonNegative = 0.3) -> Vector:
    """Go on in the direction from a model to its aligned successor, instead of training further.

    Formula:    model + alpha (model - base)
    Parameters: alpha     0 or more (0.3; the paper searches 0.1 to 0.5 and shows that too much breaks the model)
    Scope:      element by element.
    Passes:     1.
    Fails:      where base or model is no model.
    Reference:  Zheng et al., Weak-to-strong extrapolation expedites alignment, arXiv 2404.16792.
    Differs:    fusion_bench averages several models first (`expo(base, soup([...]))`) and its default is 0.1.
    Recipe:     `merged: expo(base, chat, alpha=0.3)`
    """
    return model + alpha * (model - base)
