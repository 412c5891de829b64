"""What the compressor alone takes for a delta file, in one thread: seconds of the processor, of its pieces one by one.

    python -m tests.bench.compressor made.delta compress

compresses again what each piece of an exact delta unpacks to, with weightmath's own settings, or unpacks it. Reading,
encoding and writing do not count: this is what is left for a program that does all else for nothing.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

from weightmath.delta.api import DeltaFile, open_delta
from weightmath.delta.pieces import pieces_of
from weightmath.delta.planes import compressed, unpacked


def seconds(path: str, direction: str) -> float:
    """Seconds of the processor that the compressor takes for all pieces."""
    total = 0.0
    for content, size in pieces(open_delta(path)):
        plain = unpacked(content, size)
        started = time.thread_time()
        if direction == "compress":
            compressed(plain)
        else:
            unpacked(content, size)
        total += time.thread_time() - started
    return total


def pieces(file: DeltaFile) -> Iterator[tuple[bytes, int]]:
    """The pieces that change something, and how large they are when they are unpacked."""
    descriptor = os.open(file.path, os.O_RDONLY)
    try:
        for name, record in file.delta.records.items():
            for piece in pieces_of(record.entry):
                begin, length = file.span(name, piece.number)
                if length:
                    yield os.pread(descriptor, length, begin), piece.count * record.entry.dtype.itemsize
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    print(seconds(sys.argv[1], sys.argv[2]))
