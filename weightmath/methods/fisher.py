"""Fisher-weighted average: each element weighted by how sure each model is of it."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import AnyVector, Flag, Model, NonNegative, Number, PerModel, per_model
from weightmath.errors import RecipeError
from weightmath.functions import method


@method
def fisher(
    models: Sequence[Model],
    fishers: Sequence[AnyVector],
    *,
    weights: PerModel[Number] = 1,
    floor: NonNegative = 1e-6,
    normalize: Flag = True,
) -> Vector:
    """Average models with their Fisher diagonals (mean squared gradients) as weights per element.

    Formula:    sum(wi (Fi + floor) mi) / sum(wi (Fi + floor));  normalize: Fi + floor divided by norm(Fi) + floor
    Parameters: fishers   one vector for each model, of the same layout: inputs of `kind: other`
                weights   per model, the paper's lambda (1)
                floor     0 or more, added to each Fi (1e-6), so that elements no model is sure of become a plain
                          average; with 0 they are 0/0
                normalize whether to put Fishers of different scale on one (true)
    Scope:      element by element; the norm is global.
    Passes:     2; 1 with normalize=false.
    Fails:      when there is not one Fisher diagonal for each model.
    Reference:  Matena and Raffel, Merging models with Fisher-weighted averaging, arXiv 2111.09832.
    Differs:    floor and normalize follow MergeLM and fusion_bench, which estimate the Fisher themselves; the paper has
                neither.
    Recipe:     `merged: fisher([chat, code], [chat ** 2, code ** 2])`
    """
    if len(models) != len(fishers):
        raise RecipeError(f"fisher() has {len(fishers)} Fisher diagonals for {len(models)} models")
    certainties = [w * _certainty(diagonal, floor, normalize) for diagonal, w in per_model(fishers, weights)]
    total = f.sum([certainty * model for certainty, model in zip(certainties, models, strict=True)])
    return f.model(total / f.sum(certainties))


def _certainty(diagonal: Vector, floor: Vector | float, normalize: bool) -> Vector:
    raised = diagonal + floor
    return raised / (f.norm(diagonal, scope="global") + floor) if normalize else raised
