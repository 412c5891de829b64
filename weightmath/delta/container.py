"""The delta file: a safetensors file, so that nothing in it can be executed, and its metadata say what it means.

    __metadata__  {"format": "weightmath-delta", "weightmath.delta": JSON of a `Delta`, "weightmath.delta.crc32": the
                  checksum of that JSON, 8 hexadecimal digits}; of a recipe's output also its provenance record
    name          of each tensor the encoded pieces, one after the other, as U8; `sizes` in the JSON are their lengths.
                  Of an encoder that stores numbers as they are (dense) the tensor itself, which others can read too

Each piece is encoded by itself (see `weightmath.delta.pieces`): a file of any size is written front to back and read by
pieces. The header comes first, with room for all that is only known at the end, and is padded with spaces.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path

from weightmath.checkpoint.checksum import crc_of
from weightmath.checkpoint.description import Checkpoint, Stamp, check_is_file
from weightmath.checkpoint.safetensors import is_safetensors, open_safetensors
from weightmath.delta.description import ENCODINGS, Delta, Record, checksum_of, from_json
from weightmath.delta.mark import KEY, is_delta
from weightmath.delta.pieces import piece_count
from weightmath.delta.planes import DAMAGED
from weightmath.dtypes import FLOAT32
from weightmath.errors import CheckpointError, WeightmathError, at

FORMAT = "weightmath-delta"
CRC = "weightmath.delta.crc32"
REST = ":rest"
_NEWER = "it may come from a newer weightmath: pip install -U weightmath"


@dataclass(frozen=True)
class DeltaFile:
    """An opened delta file; nothing but its header has been read."""

    path: Path
    delta: Delta
    checkpoint: Checkpoint = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.checkpoint.size

    @cached_property
    def _begins(self) -> dict[str, tuple[int, ...]]:
        sizes = {name: record.sizes for name, record in self.delta.records.items()}
        if self.delta.whole is not None:
            sizes[REST] = self.delta.whole.rest
        return {name: tuple(accumulate(own, initial=0)) for name, own in sizes.items()}

    def span(self, name: str, number: int) -> tuple[int, int]:
        """Where in the file a piece of a tensor, or of REST, lies, and its bytes."""
        begins = self._begins[name]
        return self.checkpoint.places[name].offset + begins[number], begins[number + 1] - begins[number]

    def is_sound(self, name: str, read: Callable[[int, int], bytes]) -> bool:
        """Whether a tensor's bytes, as `read(offset, length)` reads them, have the checksum written with them."""
        return self.delta.sums.get(name) == crc_of(read, self.checkpoint.places[name].offset, self._begins[name][-1])

    @contextmanager
    def named(self) -> Iterator[None]:
        """A context whose errors name this file."""
        try:
            yield
        except CheckpointError as error:
            raise at(str(self.path), error) from None


def open_delta(path: str | Path) -> DeltaFile:
    """Open a delta file. Fails with CheckpointError for a file that is none, or that is damaged."""
    path = Path(path)
    check_is_file(path)
    file = os.open(path, os.O_RDONLY)
    try:
        stamp = Stamp.of(os.fstat(file))
        if not is_safetensors(os.pread(file, 512, 0), stamp.size):
            raise CheckpointError("is no delta file", hint="weightmath delta make BASE TUNED -o FILE writes one")
        return delta_of(open_safetensors(path, file, stamp))
    except WeightmathError as error:
        raise at(str(path), error) from None
    finally:
        os.close(file)


def delta_of(checkpoint: Checkpoint) -> DeltaFile:
    """The delta that an opened safetensors file is; CheckpointError where it is none or contradicts itself."""
    where = str(checkpoint.path)
    if not is_delta(checkpoint):
        hint = "weightmath delta make BASE TUNED -o FILE writes one"
        raise CheckpointError("is no delta file", where=where, hint=hint)
    texts = checkpoint.texts or {}
    if texts.get(CRC) != checksum_of(texts[KEY]):
        fact = "its description as a delta does not have the checksum that was written with it"
        raise CheckpointError(fact, where=where, hint=DAMAGED)
    try:
        delta = from_json(texts[KEY])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"its description as a delta is malformed: {error}", where=where, hint=_NEWER) from None
    opened = DeltaFile(checkpoint.path, delta, checkpoint)
    _check_sizes(opened)
    return opened


def _check_sizes(opened: DeltaFile) -> None:
    lengths = {tensor.entry.name: tensor.entry.nbytes for tensor in opened.checkpoint.tensors}
    wanted = {name: sum(record.sizes) for name, record in opened.delta.records.items()}
    if opened.delta.whole is not None:
        wanted[REST] = sum(opened.delta.whole.rest)
    if lengths != wanted:
        fact = "its tensors are not those that its description names"
        raise CheckpointError(fact, where=str(opened.path), hint=DAMAGED)
    for name, record in opened.delta.records.items():
        if record.encoder not in ENCODINGS:
            fact = f"`{name}` is encoded as {record.encoder}, which this weightmath does not know"
            raise CheckpointError(fact, where=str(opened.path), hint=_NEWER)
        if not _fits(record):
            fact = f"`{name}` has other pieces than its shape needs"
            raise CheckpointError(fact, where=str(opened.path), hint=DAMAGED)


def _fits(record: Record) -> bool:
    """Whether a record has as many pieces as its shape needs, and of a product the bytes."""
    if record.encoder != "low-rank":
        return len(record.sizes) == piece_count(record.entry)
    width = (record.stored or FLOAT32).itemsize
    return bool(record.rank) and record.sizes == (record.factors_size * width,)


def problems_of(file: DeltaFile) -> list[str]:
    """Read all bytes of a delta file and compare them with their checksums; what is wrong, one line each."""
    with file.checkpoint.open() as reader:
        names = [tensor.entry.name for tensor in file.checkpoint.tensors]
        return [unsound(name) for name in names if not file.is_sound(name, reader.read_bytes)]


def unsound(name: str) -> str:
    """What there is to say of a tensor that is not sound."""
    return f"`{name}`: its bytes do not have the checksum that was written with them"
