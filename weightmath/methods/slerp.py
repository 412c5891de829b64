"""Slerp: interpolation along the great circle."""

from __future__ import annotations

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.algebra.signature import Model, Number, Scope
from weightmath.functions import method

STRAIGHT = 0.9995


@method
def slerp(a: Model, b: Model, *, t: Number = 0.5, scope: Scope = "tensor") -> Vector:
    """Spherical interpolation: sin((1-t) w) / sin(w) a + sin(t w) / sin(w) b, with w the angle between a and b.

    Formula:    as above; (1-t) a + t b where |cos w| > 0.9995 or a vector is zero
    Parameters: t     0 gives a, 1 gives b (0.5): a number, or a table of patterns for each tensor its own
    Scope:      what the angle is taken of: tensor (default, as everywhere), row, layer, global.
    Passes:     row: 1. tensor: each tensor beyond one tile is read twice. layer, global: 2.
    Fails:      never: nearly parallel and nearly opposed vectors are interpolated along the line.
    Reference:  Shoemake, Animating rotation with quaternion curves, SIGGRAPH 1985; the threshold is the field's custom.
    Differs:    models of one base differ by small angles, so that most tools, and this one, interpolate them along the
                line; `nuslerp` has no such threshold. sd-mecha interpolates directions and lengths apart, which differs
                when the lengths do; for that, see `karcher`.
    Recipe:     `merged: slerp(base, chat, t=0.3)`
    """
    share = f.coefficients("slerp", f.gram([a, b], scope=scope), t, straight=STRAIGHT)
    return f.model(share[0] * a + share[1] * b)
