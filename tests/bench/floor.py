"""The floor: read whole files side by side and write as many, in 512 KiB pieces, flushed. No arithmetic, no import.

    python -I -S floor.py 3 a.ckpt b.ckpt c.ckpt out.ckpt

reads the first three and writes the last. It flushes because weightmath does: a merge is done when the disk has it, and
how long a disk takes says nothing about either program.
"""

import os
import sys

BUFFER = 512 * 1024


def copy(sources: list[str], targets: list[str]) -> None:
    """Read all sources piece by piece; write each piece of the first to all targets."""
    inputs = [os.open(path, os.O_RDONLY) for path in sources]
    outputs = [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for path in targets]
    buffer = memoryview(bytearray(BUFFER))
    for start in range(0, max(os.fstat(file).st_size for file in inputs), BUFFER):
        for file in reversed(inputs):
            count = os.preadv(file, [buffer], start)
        for file in outputs:
            os.pwrite(file, buffer[:count], start)
    for file in outputs:
        os.fsync(file)


if __name__ == "__main__":
    reads = 2 + int(sys.argv[1])
    copy(sys.argv[2:reads], sys.argv[reads:])
