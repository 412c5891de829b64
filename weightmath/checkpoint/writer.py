"""Fills in an image: by position, in any order, from any thread; complete under its name, or not there at all.

with Writer(image, "merged.ckpt") as writer:
    for copy in writer.copies: writer.copy(copy)
    writer.write("w", 0, bits)
    writer.commit()      # checks that nothing is missing, adds headers and directory, flushes
    writer.publish()     # the file appears under its name
"""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from weightmath.checkpoint.checksum import combine, crc32, crc_of_zeros
from weightmath.checkpoint.description import extent as reach
from weightmath.checkpoint.image import PIECE, Copy, Extent, Image, Target
from weightmath.errors import OutputError

Bits = np.ndarray[Any, np.dtype[Any]]


class Writer:
    """An output in the making, as a hidden file beside its target. A context manager that removes it on failure.

    force    replace a file of that name
    Fails    OutputError if the target exists, is a directory or the template, or does not fit the disk
    """

    def __init__(self, image: Image, path: str | Path, *, force: bool = False) -> None:
        self.image = image
        self.path = Path(path)
        self.force = force
        self._check_target()
        self.part = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.part")
        # One list per extent: offset, bytes and checksum of each piece. Appending is atomic, so no lock.
        self._written: list[list[tuple[int, int, int]]] = [[] for _ in image.extents]
        # Of extents that are written out of order: first element and number of elements of each piece, by tensor.
        self._loose: dict[str, list[tuple[int, int]]] = {
            name: [] for name, target in image.targets.items() if target.extent in image.unordered
        }
        self._reader = image.template.open()
        self._file: int | None = None
        try:
            self._create()
            for copy in image.copies:
                if copy.extent in image.unordered:
                    self.copy(copy)
        except BaseException:
            self.abort()
            raise

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    @property
    def copies(self) -> tuple[Copy, ...]:
        """What is to be copied from the template: small tasks for `copy`, each once, in any order, by any thread."""
        return tuple(copy for copy in self.image.copies if copy.extent not in self.image.unordered)

    def write(self, name: str, start: int, bits: Bits) -> None:
        """Elements [start, start + len(bits)) of a tensor, in C order; each exactly once.

        bits    1-D, contiguous, raw bits of the tensor's dtype in the output
        """
        target = self.image.targets[name]
        size = bits.nbytes
        itemsize = target.entry.dtype.itemsize
        if start < 0 or start * itemsize + size > target.entry.nbytes or bits.dtype.itemsize != itemsize:
            raise OutputError(f"{bits.size} elements of {bits.dtype} do not fit `{name}` at {start}")
        if not size:
            return
        raw = bits.view(np.uint8).data
        offset = target.offset + start * itemsize
        if target.extent in self.image.unordered:
            self._loose[name].append((start, bits.size))
        else:
            self._written[target.extent].append((offset, size, crc32(raw)))
        if target.stride is None:
            self._put(self.image.extents[target.extent].offset + offset, raw)
        else:
            self._scatter(target, target.stride, start, bits)

    def copy(self, copy: Copy) -> None:
        """Copy a run of bytes from the template; its own checksums are not trusted, as torch can leave them out."""
        content = self._reader.read_bytes(copy.source, copy.size)
        self._put(self.image.extents[copy.extent].offset + copy.offset, memoryview(content))
        self._written[copy.extent].append((copy.offset, copy.size, crc32(content)))

    def commit(self) -> None:
        """Check that every byte was written once, add what surrounds the data, and flush the file to the disk.

        OutputError if a tensor is incomplete; CheckpointError if the template changed meanwhile.
        """
        self._reader.check_unchanged()
        for number, content in self.image.literals.items():
            self._put(self.image.extents[number].offset, memoryview(content))
            self._written[number].append((0, len(content), crc32(content)))
        for zeros in self.image.zeros:
            self._written[zeros.extent].append((zeros.offset, zeros.size, crc_of_zeros(zeros.size)))
        crcs = [self._checksum(number, extent) for number, extent in enumerate(self.image.extents)]
        for position, content in self.image.seal(crcs):
            self._put(position, memoryview(content))
        assert self._file is not None
        os.fsync(self._file)
        self._close()

    def publish(self) -> None:
        """Give the committed file its name, in one step that cannot be seen half done."""
        if self._file is not None:
            raise OutputError("is not committed yet", where=str(self.path))
        self._check_target()
        os.replace(self.part, self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def abort(self) -> None:
        """Remove the hidden file; harmless after `publish`."""
        self._close()
        self.part.unlink(missing_ok=True)

    def _check_target(self) -> None:
        if self.path.is_dir():
            raise OutputError("is a directory", where=str(self.path))
        if not self.path.parent.is_dir():
            raise OutputError("its directory does not exist", where=str(self.path), hint=f"mkdir -p {self.path.parent}")
        if not self.path.exists():
            return
        if any(os.path.samefile(self.path, file) for file in self.image.template.files):
            raise OutputError("is the template: an output never replaces an input", where=str(self.path))
        if not self.force:
            raise OutputError("exists", where=str(self.path), hint="choose another name, or allow it with --force")

    def _create(self) -> None:
        """Create the hidden file with its full size, so that a full disk is known at once."""
        folder = os.statvfs(self.path.parent)
        free = folder.f_bavail * folder.f_frsize
        if free < self.image.size:
            raise OutputError(f"needs {self.image.size:,} bytes; the disk has {free:,}", where=str(self.path))
        try:
            self._file = os.open(self.part, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
            _allocate(self._file, self.image.size)
        except OSError as error:
            raise OutputError(f"cannot be written: {error.strerror}", where=str(self.path)) from None

    def _close(self) -> None:
        self._reader.close()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _put(self, position: int, content: memoryview) -> None:
        assert self._file is not None
        try:
            done = os.pwrite(self._file, content, position)
            while done < len(content):
                done += os.pwrite(self._file, content[done:], position + done)
        except OSError as error:
            raise OutputError(f"cannot be written: {error.strerror}", where=str(self.path)) from None

    def _scatter(self, target: Target, stride: tuple[int, ...], start: int, bits: Bits) -> None:
        entry = target.entry
        position = self.image.extents[target.extent].offset + target.offset
        whole = np.memmap(self.part, entry.dtype.bits, "r+", position, (reach(entry.shape, stride),))
        steps = tuple(step * entry.dtype.itemsize for step in stride)
        np.lib.stride_tricks.as_strided(whole, entry.shape, steps).flat[start : start + bits.size] = bits

    def _checksum(self, number: int, extent: Extent) -> int:
        """Checksum of an extent; OutputError if it has a hole or was written twice somewhere."""
        if number in self.image.unordered:
            for name, pieces in self._loose.items():
                target = self.image.targets[name]
                if target.extent == number and not _is_tiled(pieces, target.entry.size):
                    raise self._incomplete([name])
            return self._read_checksum(extent)
        written = sorted(self._written[number])
        if not _is_tiled([piece[:2] for piece in written], extent.size):
            raise self._incomplete([name for name, target in self.image.targets.items() if target.extent == number])
        crc = 0
        for _, size, piece in written:
            crc = combine(crc, piece, size)
        return crc

    def _incomplete(self, names: list[str]) -> OutputError:
        what = ", ".join(f"`{name}`" for name in names) or "a copied part"
        return OutputError(f"{what} was not written completely, or was written twice", where=str(self.path))

    def _read_checksum(self, extent: Extent) -> int:
        assert self._file is not None
        crc = 0
        for done in range(0, extent.size, PIECE):
            crc = crc32(os.pread(self._file, min(PIECE, extent.size - done), extent.offset + done), crc)
        return crc


def _allocate(file: int, size: int) -> None:
    """Give a file its size and, where the file system can, its blocks."""
    try:
        os.posix_fallocate(file, 0, size)
    except (AttributeError, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        os.ftruncate(file, size)


def _is_tiled(pieces: list[tuple[int, int]], size: int) -> bool:
    """Whether pieces (first, length) cover [0, size) without a hole or an overlap."""
    done = 0
    for first, length in sorted(pieces):
        if first != done:
            return False
        done += length
    return done == size
