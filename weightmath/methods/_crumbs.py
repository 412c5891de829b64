"""What Model Breadcrumbs leave of a delta."""

from __future__ import annotations

from typing import Any

from weightmath import functions as f
from weightmath.algebra.graph import Vector


def crumbs(delta: Vector, density: Any, gamma: Any, scope: str) -> Vector:
    """Of each cell, without its floor(gamma n) largest elements, the floor(density n) largest of the rest."""
    # A selection takes at least one element; a cell of fewer than 1 / gamma elements has no outlier to lose.
    has_outliers = gamma * f.count(f.abs(delta) >= 0, scope=scope) >= 1
    outliers = f.largest_mask(delta, gamma, scope=scope) & has_outliers
    return f.keep_largest(f.where(outliers, 0, delta), density, scope=scope)
