"""Graft: take over the elements that moved most."""

from __future__ import annotations

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Density, Model, Scope
from weightmath.functions import method


@method
def graft(base: Model, model: Model, *, density: Density = 0.1, scope: Scope = "global") -> Vector:
    """Take the elements that a fine-tune moved most from it, and all others from its base, bit for bit.

    Formula:    model where |model - base| is among the floor(density n) largest of its cell, base elsewhere
    Parameters: density   share of elements taken, 0 to 1 (0.1)
    Scope:      what the share is counted in: global (default), layer, tensor, row.
    Passes:     global and layer: 2 reads, at most 4. tensor and row: 1, re-reading larger tensors from the page cache.
    Fails:      where base or model is no model.
    Reference:  Panigrahi et al., Task-specific skill localization in fine-tuned language models, arXiv 2302.06600,
                whose mask starts from these elements and is then learned on data.
    Differs:    sd-mecha's top_k_tensor_sum permutes values and is another thing.
    Recipe:     `merged: graft(base, chat, density=0.05)`
    """
    return f.where(f.largest_mask(model - base, density, scope=scope), model, base)
