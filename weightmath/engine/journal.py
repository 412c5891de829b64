"""The file beside an unfinished output that tells what of the run is done.

A line for each thing that is done, in the order in which it was done:

    checksum (8 hexadecimal digits) key TAB value (JSON)

The first line, whose key is empty, says which run this is. A line counts if it is whole: what a killed process has half
written is cut off when the file is opened again. Lines are handed to the system at once, so that they outlive the
process; the bytes that they speak of are looked for by their checksums, so that neither need reach the disk first.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

from weightmath.checkpoint.lock import acquire, being_written, hidden, open_own
from weightmath.errors import DiskError

_DIGITS = 8


class JournalFile:
    """The open and locked journal beside an output. Opening makes the file if there is none.

    head     what the first line says; None for a new or broken journal
    Fails    OutputError if another process has it; DiskError if it cannot be written
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self.path = path = hidden(target, "journal")
        self._lock = threading.Lock()
        self._lines: dict[str, tuple[int, int]] = {}  # by key: position and bytes
        try:
            handle = acquire(path, lambda: os.close(open_own(path, create=True)))
        except OSError as error:
            raise self._broken(error) from None
        if handle is None:
            raise being_written(target)
        self._file: int | None = handle
        self._end = 0
        for key, start, size in _whole_lines(handle):
            self._lines[key] = (start, size)
            self._end = start + size
        os.ftruncate(handle, self._end)
        self.head = self.find("")

    def __len__(self) -> int:
        """How many things are noted, besides the first line."""
        return len(self._lines) - ("" in self._lines)

    def begin(self, head: Any) -> None:
        """Forget all, and write the first line."""
        assert self._file is not None
        self._lines.clear()
        self._end = 0
        os.ftruncate(self._file, 0)
        self.head = head
        self.note("", head)

    def find(self, key: str) -> Any:
        """What was noted under a key, or None."""
        assert self._file is not None
        if key not in self._lines:
            return None
        start, size = self._lines[key]
        return json.loads(os.pread(self._file, size, start).partition(b"\t")[2])

    def note(self, key: str, value: Any) -> None:
        """Note a value; it replaces what the key had. DiskError if it cannot be written."""
        line = f"{key}\t{json.dumps(value, separators=(',', ':'))}\n".encode()
        line = f"{crc32(line):0{_DIGITS}x} ".encode() + line
        with self._lock:
            self._append(line)
            self._lines[key] = (self._end, len(line))
            self._end += len(line)

    def _append(self, line: bytes) -> None:
        assert self._file is not None
        done = 0
        try:
            while done < len(line):
                done += os.pwrite(self._file, line[done:], self._end + done)
        except OSError as error:
            raise self._broken(error) from None

    def flush(self) -> None:
        """See to it that all lines are on the disk."""
        assert self._file is not None
        os.fsync(self._file)

    def close(self) -> None:
        """Let go of the file; harmless if it was closed."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def remove(self) -> None:
        """Remove the file and let go of it."""
        if self._file is not None:
            self.path.unlink(missing_ok=True)
        self.close()

    def _broken(self, error: OSError) -> DiskError:
        return DiskError(f"its journal cannot be written: {error.strerror}", where=str(self._target))


def _whole_lines(handle: int) -> Iterator[tuple[str, int, int]]:
    """Key, position and bytes of each line up to the first that is not whole."""
    position = 0
    with open(handle, "rb", closefd=False) as file:
        for line in file:
            checksum, space, rest = line[:_DIGITS], line[_DIGITS : _DIGITS + 1], line[_DIGITS + 1 :]
            if space != b" " or checksum != f"{crc32(rest):0{_DIGITS}x}".encode() or not rest.endswith(b"\n"):
                return
            yield rest.partition(b"\t")[0].decode(), position, len(line)
            position += len(line)
