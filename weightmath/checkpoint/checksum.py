"""CRC-32 of data that is written in pieces, in any order: pieces are summed alone and combined afterwards."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

try:
    from isal.isal_zlib import crc32  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    from zlib import crc32

__all__ = ["combine", "crc32", "crc_of", "crc_of_zeros"]

_PIECE = 4 << 20
_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31  # the polynomial 1; bit 31 is the coefficient of x**0


def crc_of(read: Callable[[int, int], bytes], offset: int, size: int) -> int:
    """CRC of so many bytes from an offset on, as `read(offset, length)` reads them, a few megabytes at a time."""
    found = 0
    for done in range(0, size, _PIECE):
        found = crc32(read(offset + done, min(_PIECE, size - done)), found)
    return found


def combine(first: int, second: int, second_length: int) -> int:
    """CRC of two pieces one after the other, from their own CRCs and the bytes of the second.

    The CRC is a remainder of polynomials over GF(2): crc(a + b) = crc(a) * x**(8 len(b)) + crc(b).
    """
    return _multiply(_power_of_x(second_length), first) ^ second if first else second


def crc_of_zeros(length: int) -> int:
    """CRC of that many zero bytes."""
    # A CRC starts from all ones and is inverted at the end; zero bytes only shift it.
    return _multiply(_power_of_x(length), 0xFFFFFFFF) ^ 0xFFFFFFFF


def _multiply(a: int, b: int) -> int:
    """Product of two polynomials modulo the CRC's."""
    product = 0
    bit = _ONE
    while a:
        if a & bit:
            product ^= b
            a ^= bit
        bit >>= 1
        b = (b >> 1) ^ _POLYNOMIAL if b & 1 else b >> 1
    return product


@lru_cache(maxsize=4096)
def _power_of_x(length: int) -> int:
    """x**(8 * length) modulo the CRC's polynomial. Lengths repeat, so that this is rarely computed."""
    power, square = _ONE, _ONE >> 8
    while length:
        if length & 1:
            power = _multiply(square, power)
        square = _multiply(square, square)
        length >>= 1
    return power
