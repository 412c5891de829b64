"""weightmath: arithmetic on model weights. A checkpoint is one vector plus a layout, a recipe is arithmetic on vectors.

    import weightmath as wm

    base, chat = wm.open("base.ckpt"), wm.open("chat.ckpt")
    wm.save(base + 0.6 * (chat - base), "merged.ckpt")

`open` and `save` are lazy vectors from and to checkpoints, `evaluate` gives the numbers of statistics; `functions` and
`methods` make new vectors, by the names that recipes use (`wm.functions.keep_largest`, `wm.methods.ties`). `flatten`,
`unflatten` and `repackage` are the same idea on whole arrays. `run`, `plan`, `inspect` and `diff` are the commands,
which return what these print as a record. Everything here is imported when it is first used: `import weightmath` costs
nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weightmath import align as align
    from weightmath import functions as functions
    from weightmath import methods as methods
    from weightmath.algebra.graph import Vector as Vector
    from weightmath.api import evaluate as evaluate
    from weightmath.api import open as open
    from weightmath.api import save as save
    from weightmath.commands import diff as diff
    from weightmath.commands import inspect as inspect
    from weightmath.commands import plan as plan
    from weightmath.commands import run as run
    from weightmath.errors import WeightmathError as WeightmathError
    from weightmath.flat import flatten as flatten
    from weightmath.flat import repackage as repackage
    from weightmath.flat import unflatten as unflatten
    from weightmath.lab import landscape as landscape
    from weightmath.lab.compare import compare as compare
    from weightmath.lab.report.write import figures as figures
    from weightmath.lab.report.write import report as report
    from weightmath.lab.search import search as search
    from weightmath.lab.soup import soup as soup
    from weightmath.lab.sweep import sweep as sweep
    from weightmath.layout import Entry as Entry
    from weightmath.layout import Layout as Layout

__version__ = "0.1.0"

_HOMES = {
    "evaluate": "api",
    "open": "api",
    "save": "api",
    "diff": "commands",
    "inspect": "commands",
    "plan": "commands",
    "run": "commands",
    "WeightmathError": "errors",
    "flatten": "flat",
    "repackage": "flat",
    "unflatten": "flat",
    "compare": "lab.compare",
    "figures": "lab.report.write",
    "report": "lab.report.write",
    "search": "lab.search",
    "soup": "lab.soup",
    "sweep": "lab.sweep",
    "Vector": "algebra.graph",
    "Entry": "layout",
    "Layout": "layout",
}
_MODULES = {"align": "align", "functions": "functions", "landscape": "lab.landscape", "methods": "methods"}
__all__ = [  # noqa: PLE0604 - the tables above are the list
    "__version__",
    *_MODULES,
    *_HOMES,
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"weightmath.{_HOMES[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"weightmath.{_MODULES[name]}")
    from weightmath.errors import no_attribute

    raise no_attribute("module `weightmath` has no attribute", name, __all__)


def __dir__() -> list[str]:
    return sorted(__all__)
