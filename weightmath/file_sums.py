"""The SHA-256 sum of a file, which tells it from all others, against malice too."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

_PIECE = 1 << 20


def sha256_of(path: Path, told: Callable[[int], None] = lambda nbytes: None) -> str:
    """The sum of a whole file, as `sha256sum` prints it; `told` is given the bytes of each piece."""
    whole = hashlib.sha256()
    piece = memoryview(bytearray(_PIECE))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(piece):
            whole.update(piece[:count])
            told(count)
    return whole.hexdigest()
