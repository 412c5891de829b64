"""Merge methods, one per file, each a formula over functions. The folder is scanned: a new file is a new method."""

from __future__ import annotations

import importlib
import pkgutil

from weightmath.functions import METHODS, Declared


def load() -> dict[str, Declared]:
    """All methods by name, alphabetically."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(sorted(METHODS.items()))
