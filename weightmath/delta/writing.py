"""Writes a delta file front to back; it appears complete under its name, or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from weightmath import text_files
from weightmath.checkpoint import open_checkpoint
from weightmath.checkpoint.checksum import crc32
from weightmath.checkpoint.draft import sync_folder
from weightmath.checkpoint.lock import acquire, being_written, hidden, open_own
from weightmath.checkpoint.own_record import RECORD
from weightmath.checkpoint.safetensors import LENGTH, METADATA
from weightmath.delta.as_input import as_checkpoint
from weightmath.delta.container import CRC, FORMAT, open_delta
from weightmath.delta.description import Delta, checksum_of, to_json
from weightmath.delta.mark import KEY
from weightmath.delta.pieces import pieces_of
from weightmath.errors import CheckpointError, OutputError, unwritable
from weightmath.fingerprint import UNKNOWN, fingerprint
from weightmath.layout import Entry

# Measured on descriptions of all kinds: what they take besides names and sizes, in bytes.
_HEAD, _PER_TENSOR, _PER_PIECE = 3072, 420, 9
_ALIGNED = 64
_WASTE = 200  # of a file, the part that room which was not needed may be
_MOVED = 4 << 20


class DeltaWriter:
    """A delta file in the making, hidden beside its target. A context manager that removes it on failure.

    entries   the tensors that it will have at most, from which the room for the header follows
    inputs    files that the delta is made of, which it never replaces
    record    what the file carries of its provenance, made of the fingerprint that its numbers have when they are read
    Fails     OutputError if the target exists without `force`, is an input, a folder, or cannot be written
    """

    def __init__(
        self,
        path: str | Path,
        entries: Sequence[Entry],
        inputs: Sequence[Path],
        *,
        rest: int = 0,
        record: Callable[[str], str] | None = None,
        force: bool = False,
    ) -> None:
        self.path = Path(path)
        check_free(self.path, inputs, force=force)
        count = sum(max(1, len(pieces_of(entry))) for entry in entries) + rest
        # A name is written four times: as a key, as a source, as a tensor, with its checksum.
        names = sum(4 * _length_in_json(entry.name) + 22 * len(entry.shape) for entry in entries)
        self._room = _HEAD + _PER_TENSOR * len(entries) + _PER_PIECE * count + names
        self._record = record
        self._room += _length_in_json(record(UNKNOWN)) if record else 0
        self._room += -(LENGTH + self._room) % _ALIGNED
        self._part = hidden(self.path, "part")
        self._fields: dict[str, Any] = {}
        self._end = self._sum = 0
        self._sums: dict[str, int] = {}
        try:
            self._file = open_part(self.path)
            self._file.seek(LENGTH + self._room)
        except OSError as error:
            raise unwritable(self.path, error) from None

    def __enter__(self) -> DeltaWriter:
        return self

    def __exit__(self, *_: object) -> None:
        # While it is locked: afterwards it may be another's.
        if not self._file.closed:
            self._part.unlink(missing_ok=True)
            close_part(self._file)

    def add(self, content: bytes) -> int:
        """Append a piece of the tensor that is under way; its bytes."""
        try:
            self._file.write(content)
        except OSError as error:
            raise unwritable(self.path, error) from None
        self._end += len(content)
        self._sum = crc32(content, self._sum)
        return len(content)

    def close_tensor(self, name: str, size: int, entry: Entry | None = None) -> None:
        """Say that the last `size` bytes are a tensor: raw bytes, or the elements of `entry`."""
        code = entry.dtype.safetensors if entry else "U8"
        shape = list(entry.shape) if entry else [size]
        self._sums[name], self._sum = self._sum, 0
        self._fields[name] = {"dtype": code, "shape": shape, "data_offsets": [self._end - size, self._end]}

    def finish(self, delta: Delta) -> None:
        """Write the header, flush the file and give it its name."""
        text = to_json(replace(delta, sums=self._sums))
        texts = {"format": FORMAT, KEY: text, CRC: checksum_of(text)}
        try:
            if self._record is not None:
                self._write_header(texts, self._room)
                texts[RECORD] = self._record(_fingerprint(self._part))
            self._write_header(texts, self._room_for(len(self._header(texts))))
            self._check()
            os.fsync(self._file.fileno())
            os.replace(self._part, self.path)
            self._file.close()
            sync_folder(self.path.parent)
        except OSError as error:
            raise unwritable(self.path, error) from None

    def _check(self) -> None:
        """CheckpointError if what was written does not open as a delta file: then it does not get its name."""
        try:
            open_delta(self._part)
        except CheckpointError as error:
            fact = f"would be a delta file that cannot be read: {error.what}"
            hint = "it was not written; a tensor's name may be one that delta files cannot hold"
            raise CheckpointError(fact, where=str(self.path), hint=hint) from None

    def _header(self, texts: Mapping[str, str]) -> bytes:
        header = json.dumps({METADATA: texts, **self._fields}, separators=(",", ":"), ensure_ascii=False).encode()
        if len(header) > self._room:
            raise OutputError(f"the header needs {len(header):,} bytes; {self._room:,} were kept", where=str(self.path))
        return header

    def _write_header(self, texts: Mapping[str, str], room: int) -> None:
        self._file.seek(0)
        self._file.write(room.to_bytes(LENGTH, "little") + self._header(texts).ljust(room))
        self._file.flush()

    def _room_for(self, needed: int) -> int:
        """The header's final length: of small files the room that was not needed is taken back."""
        least = needed - (LENGTH + needed) % -_ALIGNED
        if (self._room - least) * _WASTE <= self._end:
            return self._room
        with self._part.open("rb", buffering=0) as source:
            source.seek(LENGTH + self._room)
            self._file.seek(LENGTH + least)
            # Each piece is read before the bytes that it moves down over are written.
            while content := source.read(_MOVED):
                self._file.write(content)
                self._file.flush()
        self._file.truncate(LENGTH + least + self._end)
        return least


def open_part(target: Path) -> BinaryIO:
    """The hidden file that is to become a target, empty and locked; OutputError if another process is writing it."""
    part = hidden(target, "part")
    handle = acquire(part, lambda: os.close(open_own(part, create=True)))
    if handle is None:
        raise being_written(target)
    os.ftruncate(handle, 0)
    return os.fdopen(handle, "w+b")


def close_part(file: BinaryIO) -> None:
    """Close a hidden file, and with it its lock."""
    with suppress(OSError):  # bytes that the disk did not take are tried once more; that they failed is being said
        file.close()


def _fingerprint(path: Path) -> str:
    """The fingerprint of the numbers in a delta file."""
    numbers = as_checkpoint(open_checkpoint(path))
    # One thread: several would decode one piece several times.
    return fingerprint(numbers.section(""), threads=1) if numbers.tensors else UNKNOWN


def _length_in_json(name: str) -> int:
    """Bytes of a name in a JSON text within a JSON text, which escapes once more."""
    once = json.dumps(name, ensure_ascii=False)
    return len(json.dumps(once, ensure_ascii=False).encode())


def check_free(path: Path, inputs: Sequence[Path], *, force: bool) -> None:
    """OutputError where a file cannot get its name: it is an input, or as for `text_files.check_free`."""
    if path.is_file() and any(os.path.samefile(path, one) for one in inputs):
        fact = "is an input: an output never replaces an input"
        raise OutputError(fact, where=str(path), hint="choose another name")
    exists = "choose another name, or allow it with --force"
    text_files.check_free(path, force=force, folder="name a file in it", exists=exists)
