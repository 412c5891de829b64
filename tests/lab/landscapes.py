"""Small checkpoints with BatchNorm, and the points of landscapes between and around them."""

from __future__ import annotations

from pathlib import Path

import torch

from weightmath.job import prepare
from weightmath.lab.landscape.recipes import Formula, text_of
from weightmath.lab.points import ground_of
from weightmath.recipe import loads
from weightmath.running import run

SHAPES = {"conv.weight": (4, 3, 2, 2), "bn.weight": (4,), "bn.running_var": (4,), "fc.weight": (5, 16)}


def state(seed: int, norms: bool = True) -> dict[str, torch.Tensor]:
    """The tensors of a model; without `norms` none of BatchNorm."""
    g = torch.Generator().manual_seed(seed)
    made = {name: torch.randn(shape, generator=g) for name, shape in SHAPES.items() if norms or "bn" not in name}
    return {name: x.abs() if "var" in name else x for name, x in made.items()}


def save_models(folder: Path) -> dict[str, Path]:
    """Save models a, b, c, d, and plain_a to plain_d without BatchNorm; the paths of the first three."""
    for seed, name in enumerate("abcd"):
        torch.save(state(seed), folder / f"{name}.ckpt")
        torch.save(state(seed, norms=False), folder / f"plain_{name}.ckpt")
    return {name: folder / f"{name}.ckpt" for name in "abc"}


def point(formula: Formula, paths: dict[str, Path], **params: float) -> dict[str, torch.Tensor]:
    """What the recipe of a formula saves at these parameters."""
    out = next(iter(paths.values())).parent / "point.ckpt"
    recipe = loads(text_of(formula, paths, [params], str(out)))
    run(prepare(ground_of(recipe).at(params, out.name, out)), force=True)
    return torch.load(out, weights_only=True)
