"""Slerp: interpolation along the great circle."""

from __future__ import annotations

from weightmath import functions as f
from weightmath.functions import method
from weightmath.graph import Vector
from weightmath.signature import Model, Plain, Scope


@method
def slerp(a: Model, b: Model, *, t: Plain = 0.5, scope: Scope = "tensor") -> Vector:
    """Spherical interpolation: sin((1-t) w) / sin(w) a + sin(t w) / sin(w) b, with w the angle between a and b.

    Parameters: t       0 gives a, 1 gives b (0.5)
    Scope:      what the angle is taken of: tensor (default, as everywhere), row, layer, global.
    Passes:     tensor: each tensor twice. layer, global: 2.
    Fails:      never: where the vectors are nearly parallel or opposed (|cos w| > 0.9995) or one is zero, the result is linear, (1-t) a + t b.
    Reference:  Shoemake, Animating rotation with quaternion curves, SIGGRAPH 1985; the threshold is the field's custom.
    Differs:    sd-mecha interpolates directions and norms apart, which differs when the norms do.
    Recipe:     `merged: slerp(base, chat, t=0.3)`
    """
    share = f.coefficients("slerp", f.gram([a, b], scope=scope), t=t)
    return f.model(share[0] * a + share[1] * b)
