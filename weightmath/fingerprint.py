"""Fingerprints: a short text that tells whether two checkpoints hold the same numbers under the same names.

A fingerprint depends on the names, shapes, dtypes and bits of a section's tensors, floats and others, and on nothing
else: not on the container, the order of tensors in the file, tied or strided storages, or what lies beside the section.

    tile     XXH3-128 of its raw bits, little-endian, in C order (a tile is the engine's: see weightmath.scope)
    tensor   XXH3-128 of its tiles' digests, in flat order
    vector   BLAKE2b-128 of the lines [name, shape, dtype, digest], as JSON, in the order of names; `wm1:` and 32 digits

It is made for accidents: another file, another epoch, a flipped bit. XXH3 runs at the speed of memory, so that a run
takes the fingerprints of all that it reads and writes while the bytes are in the cache; but whoever wants to can
construct two files with one fingerprint. Against malice a recipe pins the `sha256:` of a file.
"""

from __future__ import annotations

import hashlib
import math
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from typing import NamedTuple

import numpy as np
from xxhash import xxh3_128_digest

from weightmath.checkpoint import Section
from weightmath.engine.crew import Crew
from weightmath.layout import Entry
from weightmath.scope import TILE, tile_count, tile_span, tiles_of

Read = Callable[[str, int, int, np.ndarray], None]
See = Callable[[int, np.ndarray], None]  # takes digests of elements of one tensor, from that one on

Seen = tuple[dict[str, bytes], dict[str, dict[int, bytes]]]  # digests of tensors; of others' tiles, by number

PREFIX = "wm1:"
UNKNOWN = PREFIX + "0" * 32  # stands for a fingerprint that is not known yet
PATTERN = f"^{PREFIX}[0-9a-f]{{32}}$"


def is_fingerprint(text: str) -> bool:
    """Whether a text has the form of a fingerprint: `wm1:` and 32 digits from 0 to f."""
    return re.fullmatch(PATTERN[1:-1], text) is not None


class _Missing(NamedTuple):
    """A tile that has not been seen whole."""

    stage: str  # the tensor
    start: int
    stop: int
    after: None = None


class _Partly:
    """A tensor that has been seen in part: digests of whole tiles, and the bytes of tiles that came in pieces."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.count = tile_count(entry)
        self.digests: dict[int, bytes] = {}
        self._pieces: dict[int, dict[int, bytes]] = {}

    def add(self, number: int, start: int, bits: np.ndarray) -> None:
        """A piece of a tile, from its element `start` on."""
        pieces = self._pieces.setdefault(number, {})
        pieces[start] = bits.tobytes()
        done, stop = tile_span(self.entry, number)
        while done in pieces:
            done += len(pieces[done]) // bits.itemsize
        if done == stop:
            self.digests[number] = _joined(pieces[first] for first in sorted(pieces))
            del self._pieces[number]

    @property
    def digest(self) -> bytes | None:
        """The tensor's, when all of its tiles have one."""
        return _joined(map(self.digests.__getitem__, range(self.count))) if len(self.digests) == self.count else None


def _nothing(start: int, bits: np.ndarray) -> None:
    """What is done with a tensor that has been seen."""


def _joined(digests: Iterable[bytes]) -> bytes:
    return xxh3_128_digest(b"".join(digests))


class Digests:
    """Digests of tensors whose elements pass by in pieces: in any order, more than once, from any thread.

    entries   the tensors by the names under which they are seen; the fingerprint has the names of the entries, which
              have the same order
    """

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = entries
        self._partly: dict[str, _Partly] = {}
        self._folded = {name: _joined(()) for name, entry in entries.items() if 0 in entry.shape}
        self._lock = threading.Lock()

    def see(self, name: str, start: int, bits: np.ndarray) -> None:
        """Elements from `start` on, in C order, as raw bits: 1-D and contiguous."""
        self.seeing(name)(start, bits)

    def seeing(self, name: str) -> See:
        """What sees elements of a tensor as `see` does: for those who see many parts of it."""
        if name in self._folded:
            return _nothing
        partly = self._partly.get(name) or self._partly.setdefault(name, _Partly(self._entries[name]))
        entry, digests, count = partly.entry, partly.digests, partly.count

        def see(start: int, bits: np.ndarray) -> None:
            raw, stop = bits.data, start + len(bits)
            for number, first, last in tiles_of(entry, start, stop):
                if number in digests:
                    continue
                if start <= first and last <= stop:
                    digests[number] = xxh3_128_digest(raw[first - start : last - start])
                else:
                    begin = max(first, start)
                    with self._lock:
                        partly.add(number, begin, bits[begin - start : min(last, stop) - start])
            if len(digests) == count and name not in self._folded:
                self._fold(name, partly)

        return see

    def see_tensors(self, names: Sequence[str], spans: Sequence[slice], bits: np.ndarray) -> None:
        """Tensors of one dtype, each in its span: all of them, or their first elements."""
        raw, width, entries, folded = bits.view(np.uint8).data, bits.itemsize, self._entries, self._folded
        for name, span in zip(names, spans, strict=True):
            if name in folded:
                continue
            if span.stop - span.start == math.prod(entries[name].shape) <= TILE:
                folded[name] = xxh3_128_digest(xxh3_128_digest(raw[span.start * width : span.stop * width]))
            else:
                self.see(name, 0, bits[span])

    def _fold(self, name: str, partly: _Partly) -> None:
        with self._lock:
            digest = partly.digest
            if digest is not None:
                self._folded[name] = digest
                self._partly.pop(name, None)

    def adopt(self, name: str, digest: bytes) -> None:
        """Take over the digest of a tensor with the same shape, dtype and bits."""
        self._folded[name] = digest

    def digest(self, name: str) -> bytes | None:
        """The digest of a tensor; None while not all of it has been seen."""
        return self._folded.get(name)

    def seen(self) -> Seen:
        """All that is known, for `see_also` in another process."""
        return self._folded, {name: dict(partly.digests) for name, partly in self._partly.items()}

    def see_also(self, seen: Seen) -> None:
        """Take in what is known elsewhere."""
        folded, tiles = seen
        self._folded.update(folded)
        for name, digests in tiles.items():
            if name not in self._folded:
                partly = self._partly.setdefault(name, _Partly(self._entries[name]))
                partly.digests.update(digests)
                if len(partly.digests) == partly.count:
                    self._fold(name, partly)

    def _left(self) -> Iterator[tuple[str, list[_Missing]]]:
        for name, entry in self._entries.items():
            if name not in self._folded:
                partly = self._partly.get(name) or _Partly(entry)
                lacking = (number for number in range(partly.count) if number not in partly.digests)
                yield name, [_Missing(name, *tile_span(partly.entry, number)) for number in lacking]

    def complete(self, read: Read, threads: int = 1) -> None:
        """See all that is missing, as `read(name, start, stop, out)` reads it, from several threads."""

        def work(tile: _Missing) -> None:
            bits = np.empty(tile.stop - tile.start, self._entries[tile.stage].dtype.bits)
            read(tile.stage, tile.start, tile.stop, bits)
            self.see(tile.stage, tile.start, bits)

        Crew(self._left(), work).run(threads)

    def fingerprint(self) -> str:
        """The fingerprint of the vector, all of which must have been seen."""
        whole = hashlib.blake2b(digest_size=16)
        lines = []
        for seen in sorted(self._entries):  # a prefix that all names lose changes nothing in their order
            name, shape, dtype = self._entries[seen]
            # As json.dumps writes this list, which takes six times as long.
            lines.append(f'[{quoted(name)}, {_listed(shape)}, "{dtype.name}", "{self._folded[seen].hex()}"]\n')
        whole.update("".join(lines).encode())
        return PREFIX + whole.hexdigest()


@lru_cache(maxsize=1024)  # shapes repeat
def _listed(shape: tuple[int, ...]) -> str:
    return str([*shape])


def digests_of(section: Section, prefix: str = "") -> Digests:
    """For the tensors of a section, by their names in the file; those that begin with a prefix count without it."""
    entries = (tensor.entry for name, tensor in section.tensors.items() if name.startswith(prefix))
    return Digests({one.name: one._replace(name=one.name[len(prefix) :]) if prefix else one for one in entries})


def fingerprint(section: Section, prefix: str = "", *, seen: Digests | None = None, threads: int = 2) -> str:
    """The fingerprint of a section, or of its tensors whose names begin with a prefix, which they lose.

    Reads once what has not been seen of them. Fails with CheckpointError where the file cannot be read or changes
    meanwhile.
    """
    digests = digests_of(section, prefix) if seen is None else seen
    with section.checkpoint.open() as reader:
        digests.complete(lambda name, *span_and_out: reader.read(section.tensors[name], *span_and_out), threads)
        reader.check_unchanged()
    return digests.fingerprint()
