"""What is known of each node before anything is read."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from weightmath.algebra.graph import Vector
from weightmath.algebra.names import Numbers

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Facts:
    """Facts by node; arrays hold one value per entry of the layout. Filled by `plan`, operands first.

    static    values of numbers and tables
    present   whether the node has the tensor
    gaps      whether it lacks the tensor because a part model's file does
    weights   its affine weight; NaN is unknown
    ready     the first pass in which it can be computed
    """

    static: dict[Vector, Numbers] = field(default_factory=dict)
    present: dict[Vector, Flags] = field(default_factory=dict)
    gaps: dict[Vector, Flags] = field(default_factory=dict)
    weights: dict[Vector, Numbers] = field(default_factory=dict)
    ready: dict[Vector, int] = field(default_factory=dict)
