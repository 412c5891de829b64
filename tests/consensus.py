"""TIES (Yadav et al., 2023) written out over one vector, as a reference for recipes."""

import math

import torch


def flat(tensors, names):
    return torch.cat([tensors[name].flatten() for name in sorted(names)])


def ties(base, models, names, densities, weights):
    """TIES over these tensors as one vector."""
    start = flat(base, names)
    trimmed = []
    for model, density, weight in zip(models, densities, weights, strict=True):
        delta = flat(model, names) - start
        kept = delta.abs().topk(math.floor(density * len(delta) + 1e-9)).indices
        trimmed.append(weight * torch.zeros_like(delta).index_copy(0, kept, delta[kept]))
    elected = torch.sign(sum(trimmed))
    voters = [(torch.sign(delta) == elected) & (delta != 0) for delta in trimmed]
    change = sum(v * d for v, d in zip(voters, trimmed, strict=True)) / sum(v.int() for v in voters).clamp(min=1)
    sizes = [base[name].numel() for name in sorted(names)]
    pieces = dict(zip(sorted(names), (start + change).split(sizes), strict=True))
    return {name: pieces[name].view(x.shape) if name in names else x for name, x in base.items()}
