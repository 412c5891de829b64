"""Pairs of normal numbers, each of a pair of random words: by numpy, and as one loop of machine code.

Box and Muller's way, in float64. Logarithm and sine are polynomials, and all is made of +, -, *, / and square roots: so
the bits depend on no library and no processor. The error stays below 2^-32, the step of the words.
"""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from weightmath.kernels.machine import FLOATS, MOST_LOOPS, Code, address, compiled
from weightmath.kernels.scratch import borrow

# Chebyshev fits in x^2: -4 artanh(x) for |x| <= (sqrt 2 - 1) / (sqrt 2 + 1), and sin x for |x| <= pi / 4.
_LOGARITHM = (-0.472345496249, -0.570699943791, -0.800007713232, -1.33333330483, -4.00000000002)
_SINE = (2.71734946586e-06, -0.000198392026783, 0.00833332878425, -0.166666666316, 0.999999999996)
_SCALE = 2.0**32
_LEAST = np.float64(math.sqrt(0.5) * _SCALE).view(np.int64)
_RUN = 8192  # pairs whose work arrays fit the second cache


def normals(drawn: np.ndarray, out: np.ndarray) -> None:
    """Normal numbers of words.

    drawn   uint32, an even number of them and not 0
    out     float32 or float64, as many
    """
    for first in range(0, drawn.size, 2 * _RUN):
        run = slice(first, first + 2 * _RUN)
        _pairs(drawn[run], out[run])


def _pairs(drawn: np.ndarray, out: np.ndarray) -> None:
    radius, sine, cosine, square, work = borrow("normal.pairs", (5, drawn.size // 2), np.float64)
    _radius(drawn[0::2], radius, sine, square, work)
    # The sign of the word turns the pair by half a circle; the other 31 bits are an angle in (-pi/2, pi/2).
    np.add(drawn[1::2].view(np.int32), 0.5, out=work)
    np.copysign(radius, work, out=radius)
    np.abs(work, out=work)
    _sine_cosine(work, sine, cosine, square)
    np.multiply(radius, cosine, out=out[0::2], casting="same_kind")
    np.multiply(radius, sine, out=out[1::2], casting="same_kind")


def _series(x: np.ndarray, square: np.ndarray, coefficients: tuple[float, ...], out: np.ndarray) -> None:
    """The odd polynomial x p(x^2), highest coefficient first, by + and * alone."""
    np.multiply(square, coefficients[0], out=out)
    for coefficient in coefficients[1:-1]:
        out += coefficient
        out *= square
    out += coefficients[-1]
    out *= x


def _radius(drawn: np.ndarray, out: np.ndarray, halvings: np.ndarray, square: np.ndarray, work: np.ndarray) -> None:
    """sqrt(-2 ln u) for u = (word + 1/2) / 2^32."""
    # word + 1/2 = m 2^e with m / 2^32 in [sqrt(1/2), sqrt(2)); ln(m / 2^32) = 2 artanh((m - 2^32) / (m + 2^32)).
    np.add(drawn, 0.5, out=work)
    bits, exponent = work.view(np.int64), square.view(np.int64)
    np.subtract(bits, _LEAST, out=exponent)
    exponent >>= 52
    np.copyto(halvings, exponent)
    exponent <<= 52
    bits -= exponent
    np.add(work, _SCALE, out=square)
    work -= _SCALE
    work /= square
    np.multiply(work, work, out=square)
    _series(work, square, _LOGARITHM, out)
    halvings *= -2 * math.log(2)
    out += halvings
    np.sqrt(out, out=out)


def _sine_cosine(word: np.ndarray, sine: np.ndarray, cosine: np.ndarray, square: np.ndarray) -> None:
    """Sine and cosine of pi (word / 2^31 - 1/2), by way of half the angle, which a short series covers."""
    word *= math.pi / 2**32
    word -= math.pi / 4
    np.multiply(word, word, out=square)
    _series(word, square, _SINE, sine)
    np.multiply(sine, sine, out=square)
    np.subtract(1.0, square, out=cosine)
    np.sqrt(cosine, out=cosine)
    sine *= cosine
    sine *= 2.0
    square *= 2.0
    np.subtract(1.0, square, out=cosine)


def normals_by_loop(drawn: np.ndarray, out: np.ndarray) -> None:
    """The same numbers, from a loop: in a quarter of the time. Both arrays are contiguous."""
    _loop(out.dtype.name)(drawn.size // 2, address(drawn), address(out))


@lru_cache(MOST_LOOPS)
def _loop(dtype: str) -> Code:
    """`_pairs` in LLVM's words."""
    kind = FLOATS[dtype]
    body = [
        "%even = shl i64 %i, 1",
        "%odd = or i64 %even, 1",
        *[f"%place.{each} = getelementptr i32, ptr %words, i64 %{each}" for each in ("even", "odd")],
        *[f"%word.{each} = load i32, ptr %place.{each}" for each in ("even", "odd")],
        *_radius_lines(),
        "%signed = sitofp i32 %word.odd to double",
        "%middle = fadd double %signed, 0.5",
        "%middle.bits = bitcast double %middle to i64",
        f"%sign = and i64 %middle.bits, {-(1 << 63)}",
        "%length.bits = bitcast double %length to i64",
        "%radius.bits = or i64 %length.bits, %sign",
        "%radius = bitcast i64 %radius.bits to double",
        "%word = call double @llvm.fabs.f64(double %middle)",
        *_sine_cosine_lines(),
    ]
    for each, factor in (("even", "%cosine"), ("odd", "%sine")):
        normal, rounded = f"%normal.{each}", f"%rounded.{each}"
        body.append(f"{normal} = fmul double %radius, {factor}")
        if dtype == "float32":
            body.append(f"{rounded} = fptrunc double {normal} to float")
        body.append(f"%to.{each} = getelementptr {kind}, ptr %to, i64 %{each}")
        body.append(f"store {kind} {rounded if dtype == 'float32' else normal}, ptr %to.{each}")
    return compiled(["ptr noalias %words", "ptr noalias %to"], [ctypes.c_void_p, ctypes.c_void_p], body)


def _radius_lines() -> list[str]:
    """`_radius` of %word.even in LLVM's words: %length."""
    return [
        "%whole = uitofp i32 %word.even to double",
        "%number = fadd double %whole, 0.5",
        "%bits = bitcast double %number to i64",
        f"%above = sub i64 %bits, {_LEAST}",
        "%exponent = ashr i64 %above, 52",
        "%halvings = sitofp i64 %exponent to double",
        "%shift = shl i64 %exponent, 52",
        "%reduced = sub i64 %bits, %shift",
        "%m = bitcast i64 %reduced to double",
        f"%sum = fadd double %m, {_double(_SCALE)}",
        f"%difference = fsub double %m, {_double(_SCALE)}",
        "%x = fdiv double %difference, %sum",
        "%x.square = fmul double %x, %x",
        *_series_lines("log", "%x", "%x.square", _LOGARITHM),
        f"%turns = fmul double %halvings, {_double(-2 * math.log(2))}",
        "%radicand = fadd double %log, %turns",
        "%length = call double @llvm.sqrt.f64(double %radicand)",
    ]


def _sine_cosine_lines() -> list[str]:
    """`_sine_cosine` of %word in LLVM's words: %sine and %cosine."""
    return [
        f"%turned = fmul double %word, {_double(math.pi / 2**32)}",
        f"%angle = fsub double %turned, {_double(math.pi / 4)}",
        "%angle.square = fmul double %angle, %angle",
        *_series_lines("half", "%angle", "%angle.square", _SINE),
        "%half.square = fmul double %half, %half",
        "%rest = fsub double 1.0, %half.square",
        "%other = call double @llvm.sqrt.f64(double %rest)",
        "%product = fmul double %half, %other",
        "%sine = fmul double %product, 2.0",
        "%doubled = fmul double %half.square, 2.0",
        "%cosine = fsub double 1.0, %doubled",
    ]


def _series_lines(out: str, x: str, square: str, coefficients: Sequence[float]) -> list[str]:
    """`_series` in LLVM's words."""
    lines = [f"%{out}.0 = fmul double {square}, {_double(coefficients[0])}"]
    for number, coefficient in enumerate(coefficients[1:-1]):
        lines.append(f"%{out}.{number}.sum = fadd double %{out}.{number}, {_double(coefficient)}")
        lines.append(f"%{out}.{number + 1} = fmul double %{out}.{number}.sum, {square}")
    last = len(coefficients) - 2
    lines.append(f"%{out}.sum = fadd double %{out}.{last}, {_double(coefficients[-1])}")
    return [*lines, f"%{out} = fmul double %{out}.sum, {x}"]


def _double(number: float) -> str:
    """A number as LLVM takes it to the bit."""
    return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"
