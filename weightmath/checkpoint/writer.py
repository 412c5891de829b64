"""Fills in an image: by position, in any order, from any thread; complete under its name, or not there at all.

with Writer(image, "merged.ckpt") as writer:
    for copy in writer.copies: writer.copy(copy)
    writer.write("w", 0, bits)
    writer.commit()      # checks that nothing is missing, adds headers and directory, flushes
    writer.publish()     # the file appears under its name
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from weightmath.checkpoint.checksum import combine, crc32, crc_of, crc_of_zeros
from weightmath.checkpoint.description import extent as reach
from weightmath.checkpoint.draft import Draft
from weightmath.checkpoint.image import Copy, Elements, Extent, Image, Target
from weightmath.errors import OutputError

Put = Callable[[int, np.ndarray], int]  # writes elements of one tensor, from that one on, and returns their checksum

_BETWEEN = 512  # bytes between two extents that cost less to write than a second call


class Writer:
    """An output in the making, hidden beside its target. A context manager that removes it on failure.

    resume   keep what an earlier writer of the same image has left; `adopt` what `holds` recognises
    force    replace what has that name: a file, or a folder that holds nothing but a model
    durable  see to it that all is on the disk before it gets its name; not for what is read once and removed
    Fails    OutputError if the target exists, is the template, of another kind, or does not fit the disk
    """

    def __init__(
        self, image: Image, path: str | Path, *, force: bool = False, resume: bool = False, durable: bool = True
    ) -> None:
        self.image = image
        self.path = Path(path)
        self._draft = Draft(image, self.path, force=force, resume=resume, durable=durable)
        self.part = self._draft.part
        # One list per extent: offset, bytes and checksum of each piece. Appending is atomic, so no lock.
        self._written: list[list[tuple[int, int, int]]] = [[] for _ in image.extents]
        # Of extents that are written out of order: first element and number of elements of each piece, by tensor.
        self._loose: dict[str, list[tuple[int, int]]] = {
            name: [] for name, target in image.targets.items() if target.extent in image.unordered
        }
        self._literals = dict(image.literals)
        self._reader = image.template.open()
        try:
            self._draft.create()
            for copy in image.copies:
                if copy.extent in image.unordered:
                    self.copy(copy)
        except BaseException:
            self.abort()
            raise

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    @property
    def copies(self) -> tuple[Copy | Elements, ...]:
        """What is to be copied from the template: small tasks for `copy`, each once, in any order, by any thread."""
        return tuple(copy for copy in self.image.copies if copy.extent not in self.image.unordered)

    def write(self, name: str, start: int, bits: np.ndarray) -> int:
        """Elements [start, start + len(bits)) of a tensor, in C order; each exactly once. Returns their checksum.

        bits    1-D, contiguous, raw bits of the tensor's dtype in the output
        """
        return self.writing(name)(start, bits)

    def writing(self, name: str) -> Put:
        """What writes elements of a tensor as `write` does: for those who write many parts of it."""
        target = self.image.targets[name]
        width, nbytes, stride = target.entry.dtype.itemsize, target.entry.nbytes, target.stride
        note = self._noting(name)

        def write(start: int, bits: np.ndarray) -> int:
            first, size = start * width, bits.nbytes
            if start < 0 or first + size > nbytes or bits.itemsize != width:
                raise OutputError(f"{bits.size} elements of {bits.dtype} do not fit `{name}` at {start}")
            raw = bits.view(np.uint8).data
            crc: int = crc32(raw)
            if stride is None or not size:
                self._put(target.extent, target.offset + first, raw)
            else:
                self._view(target, stride).flat[start : start + bits.size] = bits
            note(start, bits.size, crc)
            return crc

        return write

    def write_tensors(self, names: Sequence[str], spans: Sequence[slice], bits: np.ndarray) -> list[int]:
        """Tensors of one dtype, from their first elements on, each in its span of `bits`. Returns their checksums.

        Tensors whose extents follow each other go out at once. What is between extents, and is written over them here,
        is what `commit` adds.
        """
        targets = [self.image.targets[name] for name in names]
        if not self._follow_each_other(targets, spans, bits.itemsize):
            return [self.write(name, 0, bits[span]) for name, span in zip(names, spans, strict=True)]
        raw = bits.view(np.uint8).data
        starts = [self.image.extents[target.extent].offset for target in targets]
        pieces = [raw[span.start * bits.itemsize : span.stop * bits.itemsize] for span in spans]
        whole = bytearray(starts[-1] - starts[0] + len(pieces[-1]))
        crcs: list[int] = []
        for target, start, piece in zip(targets, starts, pieces, strict=True):
            whole[start - starts[0] : start - starts[0] + len(piece)] = piece
            crcs.append(crc32(piece))
            self._written[target.extent].append((0, len(piece), crcs[-1]))
        self._put(targets[0].extent, 0, memoryview(whole))
        return crcs

    def _follow_each_other(self, targets: Sequence[Target], spans: Sequence[slice], width: int) -> bool:
        """Whether these are whole extents of a file, one after the other, with little between them."""
        first = targets[0].extent
        extents = self.image.extents[first : first + len(targets)]
        if [target.extent for target in targets] != list(range(first, first + len(extents))):
            return False
        sizes = [(span.stop - span.start) * width for span in spans]
        between = extents[-1].offset + extents[-1].size - extents[0].offset - sum(sizes)
        return (
            [extent.size for extent in extents] == sizes
            and {extent.file for extent in extents} == {extents[0].file}
            and all(one.offset + one.size <= other.offset for one, other in pairwise(extents))
            and all(target.stride is None and target.entry.dtype.itemsize == width for target in targets)
            and between <= _BETWEEN * len(sizes)
        )

    def holds(self, name: str, start: int, size: int, crc: int) -> bool:
        """Whether elements [start, start + size) of a tensor are there already, told by their checksum."""
        bits = np.empty(size, self.image.targets[name].entry.dtype.bits)
        self.read(name, start, start + size, bits)
        return bool(crc32(bits.view(np.uint8).data) == crc)

    def adopt(self, name: str, start: int, size: int, crc: int) -> None:
        """Let elements with this checksum that are there already count as written."""
        self._noting(name)(start, size, crc)

    def _noting(self, name: str) -> Callable[[int, int, int], None]:
        """What notes the first of the elements of a tensor that are there, how many, and their checksum."""
        target = self.image.targets[name]
        if target.extent in self.image.unordered:
            loose = self._loose[name]
            return lambda start, size, crc: loose.append((start, size))
        written, offset, width = self._written[target.extent], target.offset, target.entry.dtype.itemsize
        return lambda start, size, crc: written.append((offset + start * width, size * width, crc)) if size else None

    def copy(self, copy: Copy | Elements) -> int:
        """Copy a piece of the template and return its checksum.

        The template's own checksums are not trusted, as torch can leave them out.
        """
        if isinstance(copy, Elements):
            content = self._reader.bits(copy.tensor, copy.start, copy.stop).view(np.uint8).data
        else:
            content = memoryview(self._reader.read_bytes(copy.source, copy.size, copy.file))
        crc: int = crc32(content)
        self._put(copy.extent, copy.offset, content)
        self._written[copy.extent].append((copy.offset, copy.size, crc))
        return crc

    def adopt_copy(self, copy: Copy | Elements, crc: int) -> bool:
        """Whether a copied piece with this checksum is there already; if so, it counts as written."""
        extent = self.image.extents[copy.extent]
        there: bool = crc32(self._draft.read(extent.file, extent.offset + copy.offset, copy.size)) == crc
        if there:
            self._written[copy.extent].append((copy.offset, copy.size, crc))
        return there

    def read(self, name: str, start: int, stop: int, out: np.ndarray) -> None:
        """Elements [start, stop) of a computed tensor as they were written; `out` as for a Reader."""
        target = self.image.targets[name]
        if target.stride is None:
            extent, itemsize = self.image.extents[target.extent], target.entry.dtype.itemsize
            position = extent.offset + target.offset + start * itemsize
            out.view(np.uint8)[:] = np.frombuffer(self._draft.read(extent.file, position, out.nbytes), np.uint8)
        else:
            np.copyto(out, self._view(target, target.stride).flat[start:stop])

    def settle(self, texts: Mapping[bytes, bytes]) -> None:
        """Put what is known only now in the place of what stands for it, in contents that were planned as known.

        texts   placeholder -> text of the same length
        """
        for placeholder, text in texts.items():
            assert len(placeholder) == len(text), placeholder
            for number, content in self._literals.items():
                self._literals[number] = content.replace(placeholder, text)

    def commit(self) -> None:
        """Check that every byte was written once, add what surrounds the data, and flush the file to the disk.

        OutputError if a tensor is incomplete; CheckpointError if the template changed meanwhile.
        """
        self._reader.check_unchanged()
        for number, content in self._literals.items():
            self._put(number, 0, memoryview(content))
            self._written[number].append((0, len(content), crc32(content)))
        for zeros in self.image.zeros:
            self._written[zeros.extent].append((zeros.offset, zeros.size, crc_of_zeros(zeros.size)))
        crcs = [self._checksum(number, extent) for number, extent in enumerate(self.image.extents)]
        self._draft.put_around(0, self.image.seal(crcs))
        self._draft.flush()
        self._reader.close()

    def publish(self) -> None:
        """Give the committed output its name, in one step that cannot be seen half done."""
        self._draft.publish()

    def abort(self) -> None:
        """Remove what is hidden; harmless after `publish`."""
        self._reader.close()
        self._draft.discard()

    def leave(self) -> None:
        """Stop, and leave what is hidden to a later writer."""
        self._reader.close()
        self._draft.release()

    def _put(self, extent: int, offset: int, content: memoryview) -> None:
        place = self.image.extents[extent]
        self._draft.put(place.file, place.offset + offset, content)

    def _view(self, target: Target, stride: tuple[int, ...]) -> np.ndarray:
        entry = target.entry
        extent = self.image.extents[target.extent]
        position = extent.offset + target.offset
        whole = np.memmap(
            self._draft.path_of(extent.file), entry.dtype.bits, "r+", position, (reach(entry.shape, stride),)
        )
        steps = tuple(step * entry.dtype.itemsize for step in stride)
        return np.lib.stride_tricks.as_strided(whole, entry.shape, steps)

    def _checksum(self, number: int, extent: Extent) -> int:
        """Checksum of an extent; OutputError if it has a hole or was written twice somewhere."""
        if number in self.image.unordered:
            for name, pieces in self._loose.items():
                target = self.image.targets[name]
                if target.extent == number and not _is_tiled(pieces, target.entry.size):
                    raise self._incomplete([name])
            return crc_of(partial(self._draft.read, extent.file), extent.offset, extent.size)
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


def _is_tiled(pieces: list[tuple[int, int]], size: int) -> bool:
    """Whether pieces (first, length) cover [0, size) without a hole or an overlap."""
    done = 0
    for first, length in sorted(pieces):
        if first != done:
            return False
        done += length
    return done == size
