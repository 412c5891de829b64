"""Numbers as bytes, one piece of a tensor at a time: dense, sparse, int8, sign.

    dense    the numbers themselves, as the tensor's own elements
    sparse   the places of those that are kept, as distances from one to the next, then their numbers
    int8     per row a scale, the largest magnitude / 127, then the multiples of it; a row longer than a piece is cut
    sign     one bit per number; the tensor has one scale, the mean magnitude (BitDelta, arXiv 2402.10193)

All but dense are compressed. An empty piece stands for zeros. Arithmetic is float32, and numpy's alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from weightmath.delta.numbers import decode, encode
from weightmath.delta.planes import DAMAGED, expand, squeeze, unpacked
from weightmath.dtypes import DType
from weightmath.errors import CheckpointError

_COUNT = 4  # bytes of a number that says how long a part is


@dataclass(frozen=True)
class Form:
    """What all pieces of a tensor share.

    stored     dtype of the numbers that are stored as numbers
    row        elements of a row
    scale      of `sign`
    """

    stored: DType
    row: int
    scale: float = 0.0


Encode = Callable[[np.ndarray, Form], bytes]
Decode = Callable[[bytes, int, Form], np.ndarray]


def _dense(values: np.ndarray, form: Form) -> bytes:
    return encode(values, form.stored).tobytes()


def _undense(content: bytes, count: int, form: Form) -> np.ndarray:
    if len(content) != count * form.stored.itemsize:
        raise _broken("has another size than its tensor needs")
    return decode(np.frombuffer(content, form.stored.bits), form.stored).astype(np.float32, copy=False)


def _sparse(values: np.ndarray, form: Form) -> bytes:
    places = np.flatnonzero(values).astype(np.uint32)
    steps = squeeze(np.diff(places, prepend=np.uint32(0)))
    numbers = squeeze(encode(values[places], form.stored))
    return _counted(len(places)) + _counted(len(steps)) + steps + numbers


def _unsparse(content: bytes, count: int, form: Form) -> np.ndarray:
    kept, split = _count_at(content, 0), _count_at(content, _COUNT)
    if kept > count:
        raise _broken("keeps more numbers than its tensor has")
    head = 2 * _COUNT
    steps = expand(content[head : head + split], np.dtype("<u4"), kept)
    places = np.cumsum(steps, dtype=np.uint64)
    if kept and (places[-1] >= count or (kept > 1 and not steps[1:].all())):
        raise _broken("has places that are out of order or out of its tensor")
    found = np.zeros(count, np.float32)
    found[places] = decode(expand(content[head + split :], form.stored.bits, kept), form.stored)
    return found


def _int8(values: np.ndarray, form: Form) -> bytes:
    rows = _rows(values, form)
    scales = (np.abs(rows).max(axis=1) / np.float32(127)).astype(np.float32)
    # A row of zeros has no scale; one whose scale would be subnormal to nothing is a row of zeros too.
    steps = np.where(scales > 0, scales, np.float32(1))
    multiples = np.clip(np.rint(rows / steps[:, None]), -127, 127).astype(np.int8)
    multiples[scales == 0] = 0
    packed = squeeze(multiples.reshape(-1))
    return _counted(len(packed)) + packed + squeeze(scales)


def _unint8(content: bytes, count: int, form: Form) -> np.ndarray:
    split = _COUNT + _count_at(content, 0)
    multiples = expand(content[_COUNT:split], np.dtype("i1"), count)
    rows = _rows(multiples, form)
    scales = expand(content[split:], np.dtype("<f4"), len(rows))
    return np.asarray((rows.astype(np.float32) * scales[:, None]).reshape(-1))


def _rows(values: np.ndarray, form: Form) -> np.ndarray:
    """A piece as rows: whole ones, or one that is a part of a row."""
    return values.reshape(-1, form.row) if form.row and len(values) % form.row == 0 else values.reshape(1, -1)


def _sign(values: np.ndarray, form: Form) -> bytes:
    return squeeze(np.packbits(values > 0))


def _unsign(content: bytes, count: int, form: Form) -> np.ndarray:
    packed = np.frombuffer(unpacked(content, -(-count // 8)), np.uint8)
    scale = np.float32(form.scale)
    return np.where(np.unpackbits(packed, count=count), scale, -scale)


ENCODERS: Mapping[str, tuple[Encode, Decode]] = {
    "dense": (_dense, _undense),
    "sparse": (_sparse, _unsparse),
    "int8": (_int8, _unint8),
    "sign": (_sign, _unsign),
}


def _counted(number: int) -> bytes:
    return number.to_bytes(_COUNT, "little")


def _count_at(content: bytes, place: int) -> int:
    if len(content) < place + _COUNT:
        raise _broken("ends too early")
    return int.from_bytes(content[place : place + _COUNT], "little")


def _broken(fact: str) -> CheckpointError:
    return CheckpointError(f"a piece {fact}", hint=DAMAGED)
