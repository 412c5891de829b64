"""Arrays as compressed bytes: the elements' first bytes together, then their second bytes, and so on; then zstd.

Of a small difference the high bytes are nearly all equal; together they compress to almost nothing, while the low
bytes, which are close to noise, do not spoil them.

Noise has no strings that come again; those that a compressor finds in it cost more than its bytes one by one. So zstd
looks for nothing but runs and long repeats. Beside its level 3 that makes 7% less of a fine-tune in bfloat16, 6% in
float16, 1% in float32 and 2% more of models that were trained apart, in half of the time.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import zstandard

from weightmath.errors import CheckpointError
from weightmath.kernels.scratch import borrow

_REST_LEVEL = 12
# Level 1 with a memory of 256 places.
_SETTINGS = zstandard.ZstdCompressionParameters(compression_level=1, min_match=7, hash_log=8, write_checksum=True)
DAMAGED = "the delta file is damaged; copy it again"

_thread = threading.local()


def squeeze(values: np.ndarray) -> bytes:
    """An array of any element type as compressed byte planes."""
    width = values.dtype.itemsize
    whole = np.ascontiguousarray(values).view(f"<u{width}")
    planes = borrow("planes.squeeze", (width, len(whole)), np.uint8)
    for number, plane in enumerate(planes):
        np.right_shift(whole, 8 * number, out=plane, casting="unsafe")
    return compressed(planes.data if planes.size else b"")


def expand(content: bytes | memoryview, dtype: np.dtype[Any], count: int) -> np.ndarray:
    """The `count` elements that `squeeze` made bytes of; CheckpointError where they are not so many."""
    width = dtype.itemsize
    planes = np.frombuffer(unpacked(content, count * width), np.uint8).reshape(width, count)
    whole: np.ndarray = planes[-1].astype(f"<u{width}")
    for plane in planes[-2::-1]:
        whole <<= 8
        whole |= plane
    return whole.view(dtype)


def compressed(content: bytes | memoryview) -> bytes:
    """Bytes, compressed by themselves; `unpacked` gives them back."""
    return _compressor().compress(content)


def packed_after(content: bytes, known: bytes) -> bytes:
    """Bytes, compressed against bytes that whoever unpacks them has too."""
    # No checksum here: one that fails would speak of damage where the base is another.
    return zstandard.ZstdCompressor(level=_REST_LEVEL, dict_data=_dictionary(known)).compress(content)


def unpacked(content: bytes | memoryview, size: int, known: bytes = b"") -> bytes:
    """The `size` bytes that were compressed, after the same known ones; CheckpointError where it is another number."""
    try:
        if zstandard.frame_content_size(content) != size:
            raise CheckpointError("a piece has another size than its tensor needs", hint=DAMAGED)
        if known:
            return zstandard.ZstdDecompressor(dict_data=_dictionary(known)).decompress(content, size)
        return _decompressor().decompress(content, size)
    except zstandard.ZstdError as error:
        raise CheckpointError(f"a piece cannot be unpacked: {error}", hint=DAMAGED) from None


def _dictionary(known: bytes) -> zstandard.ZstdCompressionDict | None:
    return zstandard.ZstdCompressionDict(known, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if known else None


def _compressor() -> zstandard.ZstdCompressor:
    """One per thread: they must not be shared."""
    if not hasattr(_thread, "compressor"):
        _thread.compressor = zstandard.ZstdCompressor(compression_params=_SETTINGS)
    found: zstandard.ZstdCompressor = _thread.compressor
    return found


def _decompressor() -> zstandard.ZstdDecompressor:
    if not hasattr(_thread, "decompressor"):
        _thread.decompressor = zstandard.ZstdDecompressor()
    found: zstandard.ZstdDecompressor = _thread.decompressor
    return found
