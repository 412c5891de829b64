"""Reads the elements of tensors: by position, from any thread, into buffers of the caller."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from operator import add
from typing import TypeVar

import numpy as np

from weightmath.checkpoint.description import Block, Checkpoint, Stamp, TensorInfo, extent, unreadable
from weightmath.checkpoint.mosaic import before, indices
from weightmath.errors import CheckpointError

Fill = Callable[[int, np.ndarray], None]  # reads elements of one tensor, from that one on, as many as the array takes

R = TypeVar("R", bound="Reader")

_BETWEEN = 512  # bytes between two tensors that cost less to read than a second call


class Reader:
    """An open checkpoint. A context manager; all that reads may be called from any thread.

    CheckpointError if a file has changed since it was described.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self._places = checkpoint.places
        self._files: list[int] = []
        try:
            for path in checkpoint.files:
                self._files.append(os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)))
            self.check_unchanged()
        except OSError as error:
            self.close()
            raise unreadable(error, checkpoint.path) from None
        except CheckpointError:
            self.close()
            raise

    def __enter__(self: R) -> R:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; harmless if they are closed."""
        while self._files:
            os.close(self._files.pop())

    def check_unchanged(self) -> None:
        """CheckpointError if a file was changed or replaced since it was described."""
        for path, file, stamp in zip(self.checkpoint.files, self._files, self.checkpoint.stamps, strict=True):
            if not Stamp.of(os.fstat(file)) == Stamp.of(os.stat(path)) == stamp:
                raise CheckpointError("changed while it was read", where=str(path), hint="run it again")

    def read(self, tensor: TensorInfo, start: int, stop: int, out: np.ndarray) -> None:
        """Elements [start, stop) of a tensor, counted in C order, as raw bits.

        out     a contiguous array of shape (stop - start,) and of the tensor's `dtype.bits`
        Fails   CheckpointError if the file ends before
        """
        self.reading(tensor)(start, out[: stop - start])

    def bits(self, tensor: TensorInfo, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Elements [start, stop) of a tensor, or all of them, as `read` reads them, in an array of their own."""
        stop = tensor.entry.size if stop is None else stop
        out = np.empty(stop - start, tensor.entry.dtype.bits)
        self.read(tensor, start, stop, out)
        return out

    def reading(self, tensor: TensorInfo) -> Fill:
        """What reads elements of a tensor as `read` does: for those who read many parts of it."""
        place = self._places.get(tensor.storage.key)
        if not tensor.contiguous:
            # Mapped anew for each part: pages that were touched count as this process's for as long as a map is there.
            return lambda start, out: np.copyto(out, self._strided(tensor).flat[start : start + len(out)])
        if place is None:
            return partial(self._fill_from_blocks, self.checkpoint.blocks[tensor.storage.key], tensor)
        width = tensor.entry.dtype.itemsize
        file, first = place.file, place.offset + tensor.offset * width
        return lambda start, out: self.fill(first + start * width, out, file)

    def read_tensors(self, tensors: Sequence[TensorInfo], spans: Sequence[slice], out: np.ndarray) -> None:
        """Tensors of one dtype, from their first elements on, each into its span of `out`.

        Small neighbours are read at once, with the little that lies between them: to copy one out of it is a fifth of
        a read of its own.
        """
        sizes = [(span.stop - span.start) * out.itemsize for span in spans]
        at = self._neighbours(tensors, sizes, out.itemsize)
        if at is None:
            for tensor, span in zip(tensors, spans, strict=True):
                self.read(tensor, 0, span.stop - span.start, out[span])
            return
        file, starts, stop = at
        first = starts[0]
        whole, into = memoryview(self.read_bytes(first, stop - first, file)), out.view(np.uint8).data
        for start, size, span in zip(starts, sizes, spans, strict=True):
            begin = span.start * out.itemsize
            into[begin : begin + size] = whole[start - first : start - first + size]

    def _neighbours(
        self, tensors: Sequence[TensorInfo], sizes: Sequence[int], width: int
    ) -> tuple[int, list[int], int] | None:
        """In which file, where in it, and up to where tensors lie that rise with little between them; else None.

        They may lie within each other, as views of one storage do.
        """
        first = self._places.get(tensors[0].storage.key)
        starts: list[int] = []
        for tensor in tensors:
            place = self._places.get(tensor.storage.key)
            if first is None or place is None or place.file != first.file or not tensor.contiguous:
                return None
            starts.append(place.offset + tensor.offset * width)
        if first is None or starts != sorted(starts):
            return None
        stop = max(map(add, starts, sizes))
        return (first.file, starts, stop) if stop - starts[0] <= sum(sizes) + _BETWEEN * len(sizes) else None

    def read_bytes(self, offset: int, length: int, file: int = 0) -> bytes:
        """Bytes of one of the files; CheckpointError if it ends before."""
        try:
            content = os.pread(self._files[file], length, offset)
        except OSError as error:
            raise self._broken(file, f"cannot be read: {error.strerror}") from None
        if len(content) != length:
            raise self._broken(file, "ends before its last tensor")
        return content

    def fill(self, position: int, out: np.ndarray, file: int = 0) -> None:
        """An array, which is contiguous, with bytes of one of the files; CheckpointError if it ends before."""
        try:
            got = os.preadv(self._files[file], [out.data], position) if out.nbytes else 0
            while got < out.nbytes:
                more = os.preadv(self._files[file], [out.view(np.uint8).data[got:]], position + got)
                if not more:
                    raise self._broken(file, "ends before its last tensor")
                got += more
        except OSError as error:
            raise self._broken(file, f"cannot be read: {error.strerror}") from None

    def _fill_from_blocks(self, blocks: Sequence[Block], tensor: TensorInfo, start: int, out: np.ndarray) -> None:
        """Elements of a tensor from `start` on: those in a block lie in one run of it."""
        shape = tensor.entry.shape
        for block in blocks:
            first, last = before(block, shape, start), before(block, shape, start + len(out))
            if first < last:
                bits = np.empty(last - first, out.dtype)
                self.fill(block.place.offset + first * bits.itemsize, bits, block.place.file)
                out[indices(block, shape, first, last) - start] = bits

    def _broken(self, file: int, fact: str) -> CheckpointError:
        return CheckpointError(fact, where=str(self.checkpoint.files[file]))

    def _strided(self, tensor: TensorInfo) -> np.ndarray:
        """A view of a tensor that is transposed or expanded. Its pages are read as they are touched."""
        bits = tensor.entry.dtype.bits
        file, begin = self._places[tensor.storage.key]
        length = extent(tensor.entry.shape, tensor.stride)
        whole = np.memmap(self.checkpoint.files[file], bits, "r", begin + tensor.first_byte, (length,))
        steps = tuple(step * bits.itemsize for step in tensor.stride)
        return np.lib.stride_tricks.as_strided(whole, tensor.entry.shape, steps, writeable=False)
