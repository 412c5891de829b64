"""Reads the numbers of a delta file: any elements of any tensor, from any thread."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np

from weightmath.checkpoint import Reader
from weightmath.delta.container import DeltaFile, unsound
from weightmath.delta.description import Record
from weightmath.delta.encoders import ENCODERS, Form
from weightmath.delta.numbers import decode
from weightmath.delta.pieces import PIECE, Piece, touched
from weightmath.delta.planes import DAMAGED
from weightmath.dtypes import FLOAT32
from weightmath.errors import CheckpointError

_CACHED = 16  # decoded pieces
HELD = _CACHED * 4 * PIECE  # bytes of them at most


class DeltaReader(Reader):
    """An open delta file, with the numbers that it stands for.

    Who reads the first piece of a tensor compares all of its bytes with their checksum: CheckpointError for damage.
    """

    def __init__(self, file: DeltaFile) -> None:
        super().__init__(file.checkpoint)
        self.file = file
        self._decoded: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()
        self._sound: set[str] = set()
        self._lock, self._checking = threading.Lock(), threading.Lock()

    def content(self, name: str, number: int) -> bytes:
        """The bytes of a piece, as they are stored; none where the piece changes nothing."""
        with self._checking:
            if name not in self._sound and not self.file.is_sound(name, self.read_bytes):
                raise CheckpointError(unsound(name), where=str(self.file.path), hint=DAMAGED)
            self._sound.add(name)
        return self.read_bytes(*self.file.span(name, number))

    def values(self, name: str, start: int, stop: int) -> np.ndarray:
        """Elements [start, stop) of a tensor that is stored as numbers, as float32."""
        record = self.file.delta.records[name]
        parts = [self.piece(record, piece)[own] for piece, own in touched(record.entry, start, stop)]
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.float32), *parts])

    def piece(self, record: Record, piece: Piece) -> np.ndarray:
        """The numbers of a piece; recent ones are remembered, as engines read smaller parts of them."""
        key = (record.entry.name, piece.number)
        with self._lock:
            found = self._decoded.get(key)
            if found is not None:
                self._decoded.move_to_end(key)
                return found
        found = self._numbers(record, piece)
        with self._lock:
            self._decoded[key] = found
            if len(self._decoded) > _CACHED:
                self._decoded.popitem(last=False)
        return found

    def _numbers(self, record: Record, piece: Piece) -> np.ndarray:
        if record.encoder == "low-rank":
            return product(self.content(record.entry.name, 0), record, piece)
        content = self.content(record.entry.name, piece.number)
        if not content:
            return np.zeros(piece.count, np.float32)
        with self.file.named():
            if record.encoder not in ENCODERS:
                raise CheckpointError(f"`{record.entry.name}` is stored as bits, not as numbers")
            return ENCODERS[record.encoder][1](content, piece.count, form_of(record))


def form_of(record: Record) -> Form:
    """What the pieces of a tensor share."""
    return Form(record.stored or FLOAT32, record.entry.row_size, record.scale or 0.0)


def factors_of(content: bytes, record: Record) -> tuple[np.ndarray, np.ndarray]:
    """The tall and the wide matrix that a matrix is stored as."""
    entry, rank, stored = record.entry, record.rank or 0, record.stored or FLOAT32
    numbers = decode(np.frombuffer(content, stored.bits), stored).astype(np.float32, copy=False)
    cut = rank * entry.rows
    return numbers[:cut].reshape(entry.rows, rank), numbers[cut:].reshape(rank, entry.row_size)


def product(content: bytes, record: Record, piece: Piece) -> np.ndarray:
    """A piece of a matrix that is stored as two: the rows of the tall one times the wide one."""
    entry, (tall, wide) = record.entry, factors_of(content, record)
    first, last = piece.start // entry.row_size, -(-piece.stop // entry.row_size)
    found: np.ndarray = (tall[first:last] @ wide).reshape(-1)
    begin = piece.start - first * entry.row_size
    return found[begin : begin + piece.count]
