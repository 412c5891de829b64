"""What an output turned out to be: how much of it differs from its template, and by how much."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from weightmath.engine.plan import Plan

_LOOKED_AT = 1 << 25  # elements that the relative change and cosine are taken of, tiles at equal distances


class Change(NamedTuple):
    """What an output changed against its template, one tensor."""

    elements: int = 0
    changed: int = 0
    nonfinite: int = 0


@dataclass
class Outcome:
    """What one output turned out to be: changes by tensor, and moments for relative change and cosine."""

    tensors: dict[str, Change] = field(default_factory=dict)
    parts: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))  # moments of each tile that is looked at
    sampled: bool = False

    @property
    def moments(self) -> np.ndarray:
        """The sums of d d, d t and t t, with d the change and t the template: tile by tile in flat order."""
        return np.asarray(self.parts.sum(axis=0))

    @property
    def relative_change(self) -> float | None:
        """norm(output - template) / norm(template); None without a template or for a zero one."""
        dd, _, tt = self.moments.tolist()
        return None if tt == 0 else math.sqrt(dd / tt)

    @property
    def cosine(self) -> float | None:
        """The cosine between output and template; None without a template or with a zero vector."""
        dd, dt, tt = self.moments.tolist()
        oo = tt + 2 * dt + dd
        return None if tt == 0 or oo <= 0 else (tt + dt) / (math.sqrt(tt) * math.sqrt(oo))


def stride(plan: Plan) -> int:
    """Of how many tiles one is looked at for the relative change and cosine."""
    return -(-plan.layout.size // _LOOKED_AT) or 1
