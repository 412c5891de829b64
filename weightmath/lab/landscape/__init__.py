"""What lies between models and around one: lines, planes, neighbourhoods and noise, each as a recipe that is swept.

    from weightmath import landscape

    view = landscape.line("a.ckpt", "b.ckpt", points=11)
    table = landscape.explore(view, loss, goal="min")       # loss: a function of a state dict, or a command
    landscape.barriers(table)
    x, y, values = landscape.surface(landscape.explore(landscape.plane("a.ckpt", "b.ckpt", "c.ckpt"), loss), "metric")

A view is made of headers and, for planes and paths, of one pass over the checkpoints; `explore` measures its points.
"""

from weightmath.lab.landscape.barrier import Barrier, barriers
from weightmath.lab.landscape.explore import explore
from weightmath.lab.landscape.robustness import Level, robustness
from weightmath.lab.landscape.surface import surface
from weightmath.lab.landscape.views import View, along, around, line, noise, plane, trajectory

__all__ = [
    "Barrier",
    "Level",
    "View",
    "along",
    "around",
    "barriers",
    "explore",
    "line",
    "noise",
    "plane",
    "robustness",
    "surface",
    "trajectory",
]
