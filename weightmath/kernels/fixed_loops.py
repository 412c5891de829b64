"""Loops of machine code that are always the same: rounding beside a template, selection by magnitude, random words.

The first two do at once, to the bit, what several passes of `convert`, `select` and `elementwise` do.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from weightmath.kernels.machine import INTEGERS, MOST_LOOPS, Code, address, compiled, load, store

_EXPONENTS = {"float16": 0x7C00, "bfloat16": 0x7F80, "float32": 0x7F800000}
ROUNDED = frozenset(_EXPONENTS)
_POINTER: Any = ctypes.c_void_p


def bound_rounding(
    numbers: np.ndarray, stored: str, bits: np.ndarray, other: np.ndarray | None, differ: np.ndarray | None
) -> Callable[[], int]:
    """What rounds float32 to what is stored, to nearest even, and tells whether any of that is NaN or infinite.

    stored          one of ROUNDED
    bits            is filled with what is stored; float32 may be the numbers themselves
    other, differ   where what is stored differs from other bits is told in `differ`, by truth values
    """
    arrays = [numbers, *(each for each in (bits, other, differ) if each is not None and each is not numbers)]
    return _rounding(stored, other is not None).ready(numbers.size, arrays)


@lru_cache(MOST_LOOPS)
def _rounding(stored: str, is_compared: bool) -> Code:
    integer, exponent = INTEGERS[stored], _EXPONENTS[stored]
    takes, body = ["ptr noalias %numbers"], load("v", "%numbers", "float32", "float32")
    if stored == "float32":
        body.append("%bits = bitcast float %v to i32")
    else:
        takes.append("ptr noalias %to")
        body += [*_NARROWER[stored], *store("%to", integer, "%bits")]
    body += [
        f"%masked = and {integer} %bits, {exponent}",
        f"%odd = icmp eq {integer} %masked, {exponent}",
        "%odd.wide = zext i1 %odd to i32",
        "%found.next = or i32 %found, %odd.wide",
    ]
    if is_compared:
        takes += ["ptr noalias %other", "ptr noalias %differ"]
        body += [
            f"%place.other = getelementptr {integer}, ptr %other, i64 %i",
            f"%bits.other = load {integer}, ptr %place.other",
            f"%differs = icmp ne {integer} %bits, %bits.other",
            "%differs.wide = zext i1 %differs to i8",
            *store("%differ", "i8", "%differs.wide"),
        ]
    return compiled(takes, [_POINTER] * len(takes), body)


_NARROWER = {
    "float16": ["%half = fptrunc float %v to half", "%bits = bitcast half %half to i16"],
    # Half of the last place is added, and the last bit, so that what lies in the middle becomes even. A NaN keeps what
    # fits of its payload, and becomes quiet.
    "bfloat16": [
        "%whole = bitcast float %v to i32",
        "%high = lshr i32 %whole, 16",
        "%last = and i32 %high, 1",
        "%half = add i32 %last, 32767",
        "%sum = add i32 %whole, %half",
        "%near = lshr i32 %sum, 16",
        "%quiet = or i32 %high, 64",
        "%is.nan = fcmp uno float %v, %v",
        "%chosen = select i1 %is.nan, i32 %quiet, i32 %near",
        "%bits = trunc i32 %chosen to i16",
    ],
}


def keep_magnitudes(values: np.ndarray, least: int, out: np.ndarray) -> None:
    """Values whose `magnitude_keys` are at least `least`, which such a key can be, and 0 for others.

    values, out   float32 or float64, contiguous, of one size that is not 0
    """
    _keeping(values.dtype.name)(values.size, address(values), address(out), least)


@lru_cache(MOST_LOOPS)
def _keeping(dtype: str) -> Code:
    integer = INTEGERS[dtype]
    takes = ["ptr noalias %x", "ptr noalias %to", f"{integer} %least"]
    body = [
        *_keys(integer),
        f"%is.kept = icmp uge {integer} %key, %least",
        f"%kept = select i1 %is.kept, {integer} %bits, {integer} 0",
        *store("%to", integer, "%kept"),
    ]
    return compiled(takes, [_POINTER, _POINTER, _KEYS[dtype]], body)


def count_magnitudes(values: np.ndarray, low: int, high: int, inside: np.ndarray) -> int:
    """How many `magnitude_keys` of values are below `low`; `inside` is filled with which are from `low` to `high`.

    values   float32 or float64, contiguous, fewer than 2^31 of them and not 0
    inside   truth values
    """
    code = _counting(values.dtype.name)
    return code(values.size, address(values), address(inside), low, high - low)


@lru_cache(MOST_LOOPS)
def _counting(dtype: str) -> Code:
    integer = INTEGERS[dtype]
    takes = ["ptr noalias %x", "ptr noalias %inside", f"{integer} %low", f"{integer} %width"]
    body = [
        *_keys(integer),
        f"%is.below = icmp ult {integer} %key, %low",
        "%one = zext i1 %is.below to i32",
        "%found.next = add i32 %found, %one",
        f"%offset = sub {integer} %key, %low",  # of keys below it is larger than any width
        f"%is.inside = icmp ule {integer} %offset, %width",
        "%flag = zext i1 %is.inside to i8",
        *store("%inside", "i8", "%flag"),
    ]
    return compiled(takes, [_POINTER, _POINTER, _KEYS[dtype], _KEYS[dtype]], body)


_KEYS: dict[str, Any] = {"float32": ctypes.c_uint32, "float64": ctypes.c_uint64}


def _keys(integer: str) -> list[str]:
    largest = (1 << (int(integer[1:]) - 1)) - 1
    return [
        f"%place.x = getelementptr {integer}, ptr %x, i64 %i",
        f"%bits = load {integer}, ptr %place.x",
        f"%key = and {integer} %bits, {largest}",
    ]


# Philox 4x64 (Salmon et al., SC 2011): what its rounds multiply by, and what is added to the keys after each.
_ROUNDS = 10
_FACTORS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_STEPS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)


def fill_with_philox(key: int, block: int, out: np.ndarray) -> None:
    """Blocks of `numpy.random.Philox(key=key, counter=block)`, four words of 64 bits each, into the rows of `out`.

    out   (blocks, 4) uint64, contiguous, with at least one row
    """
    # numpy counts before it makes a block.
    _philox()(len(out), address(out), block + 1, key & (2**64 - 1), key >> 64)


@lru_cache(1)
def _philox() -> Code:
    counter = ["%counter", "0", "0", "0"]  # three words of it stay 0 for 2^64 blocks
    body = ["%counter = add i64 %first, %i"]
    for number in range(_ROUNDS):
        for side, (word, factor) in enumerate(zip((counter[0], counter[2]), _FACTORS, strict=True)):
            name = f"{side}.{number}"
            body += [
                f"%wide.{name} = zext i64 {word} to i128",
                f"%product.{name} = mul i128 %wide.{name}, {factor}",
                f"%upper.{name} = lshr i128 %product.{name}, 64",
                f"%high.{name} = trunc i128 %upper.{name} to i64",
                f"%low.{name} = trunc i128 %product.{name} to i64",
                f"%key.{name} = add i64 %key{side}, {_STEPS[side] * number % 2**64}",
            ]
        for side, word in enumerate((counter[1], counter[3])):
            body.append(f"%mixed.{side}.{number} = xor i64 %high.{1 - side}.{number}, {word}")
            body.append(f"%new.{side}.{number} = xor i64 %mixed.{side}.{number}, %key.{side}.{number}")
        counter = [f"%{kind}.{number}" for kind in ("new.0", "low.1", "new.1", "low.0")]
    body.append("%start = mul i64 %i, 4")
    for place, word in enumerate(counter):
        body += [
            f"%at.{place} = add i64 %start, {place}",
            f"%to.{place} = getelementptr i64, ptr %to, i64 %at.{place}",
            f"store i64 {word}, ptr %to.{place}",
        ]
    takes = ["ptr noalias %to", "i64 %first", "i64 %key0", "i64 %key1"]
    return compiled(takes, [_POINTER, *[ctypes.c_uint64] * 3], body)
