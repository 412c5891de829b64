"""SCE: select, calculate, erase."""

from __future__ import annotations

from collections.abc import Sequence

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Density, Model, Scope
from weightmath.functions import method
from weightmath.methods._election import elect


@method
def sce(base: Model, models: Sequence[Model], *, density: Density = 0.1, scope: Scope = "tensor") -> Vector:
    """Select elements on which models differ most, weight each model by its energy there, erase minority signs.

    Formula:    di = (mi - base) where the variance of all mj - base is among the floor(density n) largest of its cell;
                ei = sum(di^2) / sum over models;  s = sign(d1 + .. + dn);
                base + sum(ei di where sign(di) = s) / sum(ei where sign(di) = s)
    Parameters: density   share of elements selected, 0 to 1 (0.1, the paper's tau = 10%); 1 selects all
    Scope:      of the selection and the energies: tensor (default, the paper's parameter matrix), row, layer, global.
    Passes:     global and layer: 3 reads, at most 5. tensor and row: 1, re-reading larger tensors from the page cache.
    Fails:      where base or a model is no model.
    Reference:  Wan et al., FuseChat: Knowledge fusion of chat models, arXiv 2408.07990.
    Differs:    mergekit selects all by default (select_topk: 1), counts only elements whose variance is not 0, and
                falls back to equal weights where the energies add up to less than 1e-6, which small deltas do; here the
                result scales with the deltas.
    Recipe:     `merged: sce(base, [chat, code], density=0.2)`
    """
    deltas = [model - base for model in models]
    selected = f.largest_mask(_variance(deltas), density, scope=scope)
    chosen = [selected * delta for delta in deltas]
    energies = [f.dot(delta, delta, scope=scope) for delta in chosen]
    total = f.sum(energies)
    shares = [energy / f.where(total == 0, 1, total) for energy in energies]
    voters = [voter * share for voter, share in zip(elect(chosen), shares, strict=True)]
    mass = f.sum(voters)
    merged = f.sum([voter * delta for voter, delta in zip(voters, chosen, strict=True)])
    return base + merged / f.where(mass == 0, 1, mass)


def _variance(deltas: Sequence[Vector]) -> Vector:
    mean = f.mean(deltas)
    return f.mean([(delta - mean) ** 2 for delta in deltas])
