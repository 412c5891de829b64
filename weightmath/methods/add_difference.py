"""Add difference: A + (B - C), the oldest merge of Stable Diffusion users."""

from __future__ import annotations

from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, Number
from weightmath.functions import method


@method
def add_difference(a: Model, b: Model, base: Model, *, alpha: Number = 1) -> Vector:
    """Add to a model what another model learned since their common base.

    Formula:    a + alpha (b - base)
    Parameters: alpha     of the difference (1)
    Scope:      element by element.
    Passes:     1.
    Fails:      where one is no model.
    Reference:  the checkpoint merger of stable-diffusion-webui, A + (B - C) * M; Ilharco et al., arXiv 2212.04089, call
                the difference a task vector.
    Differs:    nothing; for clamping between a and b, as sd-mecha offers, write clamp(...).
    Recipe:     `merged: add_difference(chat, code, base, alpha=0.7)`
    """
    return a + alpha * (b - base)
