"""WiSE-FT: interpolate between a model and its fine-tune."""

from __future__ import annotations

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, Share
from weightmath.functions import method


@method
def wise_ft(base: Model, model: Model, *, alpha: Share = 0.5) -> Vector:
    """Go part of the way from a base to its fine-tune, for robustness to a shift of the data.

    Formula:    (1 - alpha) base + alpha model, worked out as base + alpha (model - base)
    Parameters: alpha     0 to 1 (0.5, the paper's advice without validation data); 0 gives the base bit for bit
    Scope:      element by element.
    Passes:     1.
    Fails:      where base or model is no model.
    Reference:  Wortsman et al., Robust fine-tuning of zero-shot models, arXiv 2109.01903.
    Differs:    nothing. Beyond 1 it is `expo`; both heads must have the same classes.
    Recipe:     `merged: wise_ft(base, chat, alpha=0.5)`
    """
    return f.lerp(base, model, alpha)
