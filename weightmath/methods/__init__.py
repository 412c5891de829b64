"""Merge methods, one per file, each a formula over functions. The folder is scanned: a new file is a new method.

`methods.ties(base, [chat, code])` is the same call in Python and in a recipe.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from weightmath.errors import no_attribute
from weightmath.functions import FUNCTIONS, METHODS, Declared

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
# A submodule's import binds its own name here, and the method is what users mean by it.
globals().update({_name: _method.call for _name, _method in METHODS.items()})


def load() -> dict[str, Declared]:
    """All methods by name, alphabetically."""
    return dict(sorted(METHODS.items()))


def __getattr__(name: str) -> Any:
    hint = f"it is a function, weightmath.functions.{name}" if name in FUNCTIONS else None
    raise no_attribute("there is no method", name, METHODS, hint)
