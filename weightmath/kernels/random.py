"""Random numbers that are a function of a key and an index, so that no chunking or order of work can change them.

A key names one stream: (seed, function, label, tensor). Element i of a tensor is made of 32-bit word i of its
stream (a pair of words for a pair of normals), whatever range it is asked for in. The stream is Philox 4x64 as
numpy defines it (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011): words 8b to 8b + 7 are the
first block of `numpy.random.Philox(key=key, counter=b)`, low halves first. Golden values in the tests freeze it.
With `loops`, machine code draws the words and makes the normals: the same bits, in less than half the time.
"""

from __future__ import annotations

import hashlib
import math
import threading

import numpy as np
import numpy.typing as npt

from weightmath.kernels.fixed_loops import fill_with_philox
from weightmath.kernels.normal import normals, normals_by_loop
from weightmath.kernels.scratch import borrow

_WORDS = 8  # 32-bit words per block of Philox 4x64
_FEW = 4096  # numbers from which the cost of a call to `integers` no longer tells
_thread = threading.local()


def key(seed: int, function: str, label: str, tensor: str) -> int:
    """The 128-bit name of the stream of one tensor in one use of a random function.

    Different arguments give independent streams. `label` tells apart uses that share a seed (the models of a merge).
    """
    parts = [str(part).encode() for part in (seed, function, label, tensor)]
    text = b"".join(b"%d:%b" % (len(part), part) for part in parts)  # lengths, so that no two tuples spell one text
    return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")


def _stream(key: int, block: int) -> np.random.Generator:
    """This thread's generator, about to draw block `block` of that key."""
    if not hasattr(_thread, "generator"):
        _thread.generator = np.random.Generator(np.random.Philox(key=0))
    generator: np.random.Generator = _thread.generator
    # Setting the state costs a quarter of building a generator, which tells with 100,000 small tensors.
    generator.bit_generator.state = {
        "bit_generator": "Philox",
        "state": {
            "counter": np.array([block, 0, 0, 0], np.uint64),
            "key": np.array([key & (2**64 - 1), key >> 64], np.uint64),
        },
        "buffer": np.zeros(4, np.uint64),
        "buffer_pos": 4,
        "has_uint32": 0,
        "uinteger": 0,
    }
    return generator


def words(key: int, start: int, stop: int, *, loops: bool = False) -> np.ndarray:
    """Words `start` to `stop` of the stream, uint32, each value equally likely."""
    block, skipped = divmod(start, _WORDS)
    length = skipped + stop - start
    drawn = _blocks(key, block, -(-length // _WORDS)) if loops and length else _drawn(key, block, (length + 1) // 2)
    return drawn.astype("<u8", copy=False).view("<u4")[skipped:length]


def _drawn(key: int, block: int, count: int) -> np.ndarray:
    stream = _stream(key, block)
    if count < _FEW:
        return np.asarray(stream.bit_generator.random_raw(count))
    # The same numbers: `random_raw` takes a lock for each of them, which stalls other threads.
    return stream.integers(0, 2**64 - 1, count, np.uint64, endpoint=True)


def _blocks(key: int, block: int, count: int) -> np.ndarray:
    drawn = np.empty((count, _WORDS // 2), np.uint64)
    fill_with_philox(key, block, drawn)
    return drawn.reshape(-1)


def _room(start: int, stop: int, dtype: npt.DTypeLike, out: np.ndarray | None) -> np.ndarray:
    return np.empty(stop - start, dtype) if out is None else out


def uniform(
    key: int, start: int, stop: int, dtype: npt.DTypeLike, out: np.ndarray | None = None, *, loops: bool = False
) -> np.ndarray:
    """Elements `start` to `stop` of uniform numbers in [0, 1): word / 2^32 in float64, cut to 24 bits in float32.

    `out`, where given, is a 1-D array of that dtype to write to.
    """
    number, drawn = _room(start, stop, dtype, out), words(key, start, stop, loops=loops)
    bits = 24 if number.dtype == np.float32 else 32
    if bits < 32:
        # As signed integers, which processors make floats of: less than half the time. All of this is exact.
        drawn = np.right_shift(drawn, np.uint32(32 - bits), out=drawn).view(np.int32)
    np.copyto(number, drawn, casting="same_kind")
    number *= 2.0**-bits
    return number


def bernoulli(key: int, start: int, stop: int, p: float | np.ndarray, *, loops: bool = False) -> np.ndarray:
    """Elements `start` to `stop` of a mask (bool) that is true with probability p: where word / 2^32 < p.

    `p` is one number or an array with one per element; 1 is always true, 0 never. The masks of one key nest: what
    is kept at some p is kept at every larger p.
    """
    mask = np.empty(stop - start, bool)
    if np.ndim(p) == 0:
        # A whole number is less than the limit where it is less than the next whole number, which compares faster.
        limit = math.ceil(min(p, 1.0) * 2.0**32) if p > 0 else 0
        if limit < 2**32:
            np.less(words(key, start, stop, loops=loops), np.uint32(limit), out=mask)
        else:
            mask[:] = True
        return mask
    scaled = borrow("random.p", np.shape(p), np.float64)
    np.multiply(p, 2.0**32, out=scaled)
    np.less(words(key, start, stop, loops=loops), scaled, out=mask)
    return mask


def rademacher(
    key: int, start: int, stop: int, dtype: npt.DTypeLike, out: np.ndarray | None = None, *, loops: bool = False
) -> np.ndarray:
    """Elements `start` to `stop` of random signs: -1 or 1, equally likely.

    `out`, where given, is a 1-D array of that dtype to write to.
    """
    sign = _room(start, stop, dtype, out)
    if sign.dtype == np.float32:  # its sign is in the word's place
        drawn = words(key, start, stop, loops=loops)
        drawn &= np.uint32(1 << 31)
        np.bitwise_or(drawn, np.float32(1).view(np.uint32), out=sign.view(np.uint32))
    else:
        np.copysign(1.0, words(key, start, stop, loops=loops).view(np.int32), out=sign, casting="same_kind")
    return sign


def gaussian(
    key: int, start: int, stop: int, dtype: npt.DTypeLike, out: np.ndarray | None = None, *, loops: bool = False
) -> np.ndarray:
    """Elements `start` to `stop` of standard normal numbers, computed in float64 and rounded once to the dtype.

    Box and Muller, A note on the generation of random normal deviates, 1958: elements 2j and 2j + 1 are r cos a and
    r sin a, with r = sqrt(-2 ln u), u from word 2j and a from word 2j + 1; see `weightmath.kernels.normal`. |z| < 6.77.
    `out`, where given, is a 1-D array of that dtype to write to.
    """
    normal = _room(start, stop, dtype, out)
    even = start - start % 2
    drawn = words(key, even, stop + stop % 2, loops=loops)
    made = normal if even == start and stop % 2 == 0 else borrow("random.normal", drawn.shape, normal.dtype)
    if drawn.size:
        (normals_by_loop if loops else normals)(drawn, made)
    if made is not normal:
        normal[:] = made[start - even : stop - even]
    return normal
