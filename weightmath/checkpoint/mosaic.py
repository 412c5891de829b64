"""Tensors that are put together of boxes: where the elements of a box lie in the tensor's own order.

The elements of a box in C order are, counted in the whole tensor, ever further on. So those within a range of the
tensor are a range of the box.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weightmath.checkpoint.description import Block


def before(block: Block, shape: tuple[int, ...], index: int) -> int:
    """How many elements of a block come before an element of the tensor, both in C order."""
    count = 0
    inside = math.prod(block.shape)
    outside = math.prod(shape)
    if index >= outside:
        return inside
    for start, length, size in zip(block.start, block.shape, shape, strict=True):
        inside //= max(length, 1)
        outside //= size
        position, index = divmod(index, outside)
        count += min(max(position - start, 0), length) * inside
        if not start <= position < start + length:
            break
    return count


def indices(block: Block, shape: tuple[int, ...], first: int, last: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Where elements [first, last) of a block lie in the tensor."""
    own = np.arange(first, last)
    found = np.zeros(last - first, np.int64)
    inside, outside = math.prod(block.shape), math.prod(shape)
    for start, length, size in zip(block.start, block.shape, shape, strict=True):
        inside //= length
        outside //= size
        position, own = np.divmod(own, inside)
        found += (position + start) * outside
    return found


def are_a_tensor(blocks: tuple[Block, ...], shape: tuple[int, ...]) -> bool:
    """Whether blocks cover a tensor without a hole, an overlap or an element outside."""
    if any(len(block.start) != len(shape) or len(block.shape) != len(shape) for block in blocks):
        return False
    full = [block for block in blocks if math.prod(block.shape)]
    if sum(math.prod(block.shape) for block in full) != math.prod(shape):
        return False
    starts = np.array([block.start for block in full], np.int64).reshape(len(full), len(shape))
    ends = starts + np.array([block.shape for block in full], np.int64).reshape(starts.shape)
    if (ends > np.array(shape, np.int64)).any():
        return False
    meeting = (
        np.flatnonzero(((starts < end) & (start < ends)).all(1)) for start, end in zip(starts, ends, strict=True)
    )
    return all(len(found) == 1 for found in meeting)
