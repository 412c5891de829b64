"""Functions that work element by element."""

from __future__ import annotations

from weightmath.algebra.graph import Vector, elementwise
from weightmath.algebra.signature import Mask, Value
from weightmath.errors import RecipeError
from weightmath.functions.declare import function


@function
def abs(x: Value) -> Vector:
    """The magnitude of each element, |x|.

    Recipe: `size: abs(chat - base)`
    """
    return elementwise("absolute", x)


@function
def sign(x: Value) -> Vector:
    """The sign of each element: -1, 0 or 1; the sign of 0 is 0.

    Recipe: `direction: sign(chat - base)`
    """
    return elementwise("sign", x)


@function
def sqrt(x: Value) -> Vector:
    """The square root of each element, correctly rounded; NaN for a negative one.

    Recipe: `root: sqrt(abs(chat - base))`
    """
    return elementwise("sqrt", x)


@function
def exp(x: Value) -> Vector:
    """e to the power of each element, computed in float64 and rounded once.

    Recipe: `grown: exp(chat - base)`
    """
    return elementwise("exp", x)


@function
def log(x: Value) -> Vector:
    """The natural logarithm of each element, computed in float64 and rounded once; NaN for a negative one, -inf for 0.

    Recipe: `bits: log(abs(chat) + 1)`
    """
    return elementwise("log", x)


@function
def tanh(x: Value) -> Vector:
    """The hyperbolic tangent of each element, -1 to 1, computed in float64 and rounded once.

    Recipe: `tamed: base + 0.01 * tanh((chat - base) / 0.01)`
    """
    return elementwise("tanh", x)


@function
def minimum(a: Value, b: Value) -> Vector:
    """The smaller of two values, element by element; NaN where either is NaN.

    Recipe: `small: minimum(chat, code)`
    """
    return elementwise("minimum", a, b)


@function
def maximum(a: Value, b: Value) -> Vector:
    """The larger of two values, element by element; NaN where either is NaN.

    Recipe: `large: maximum(chat, code)`
    """
    return elementwise("maximum", a, b)


@function
def clamp(x: Value, low: Value, high: Value) -> Vector:
    """Each element limited to low..high: min(max(x, low), high).

    Fails: RecipeError for numbers of which the first is above the second.
    Recipe: `tamed: base + clamp(chat - base, -0.01, 0.01)`
    """
    if isinstance(low, float) and isinstance(high, float) and low > high:
        raise RecipeError(f"nothing lies between {low:g} and {high:g}", hint=f"clamp(x, {high:g}, {low:g})")
    return elementwise("minimum", elementwise("maximum", x, low), high)


@function
def where(mask: Mask, a: Value, b: Value) -> Vector:
    """`a` where the mask is true, `b` elsewhere, bit for bit (also NaN).

    Recipe: `mixed: where(abs(chat - base) > abs(code - base), chat, code)`
    """
    return elementwise("where", mask, a, b)


@function
def round(x: Value) -> Vector:
    """Each element rounded to the nearest whole number, halves to the even one.

    Recipe: `coarse: base + round((chat - base) * 1000) / 1000`
    """
    return elementwise("round", x)


@function
def floor(x: Value) -> Vector:
    """Each element rounded down to a whole number.

    Recipe: `coarse: base + floor((chat - base) * 1000) / 1000`
    """
    return elementwise("floor", x)


@function
def lerp(a: Value, b: Value, t: Value) -> Vector:
    """Linear interpolation, a + t (b - a): `a` at t = 0, exactly; t beyond 0..1 extrapolates.

    Recipe: `halfway: lerp(base, chat, 0.5)`
    """
    return elementwise("add", a, elementwise("multiply", t, elementwise("subtract", b, a)))
