"""Exact deltas of whole files: the tuned file comes back to the byte, pickles and optimizer state included."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from weightmath.checkpoint import Section
from weightmath.delta.bits import best_way, pack, sample_of
from weightmath.delta.container import REST
from weightmath.delta.description import Delta, Record, WholeFile
from weightmath.delta.pieces import Piece, in_order, pieces_of
from weightmath.delta.planes import packed_after
from weightmath.delta.sides import BY, side_of
from weightmath.delta.stages import FileStage, Region, known_bits, rest_known, rest_pieces
from weightmath.delta.writing import DeltaWriter
from weightmath.errors import CheckpointError
from weightmath.file_sums import sha256_of
from weightmath.fingerprint import digests_of


def make_whole(
    base: Section, tuned: Section, path: str | Path, *, name: str | None = None, threads: int = 2, force: bool = False
) -> Delta:
    """Write what leads from a base's file to a tuned one's; returns what the delta file says of itself.

    Every tensor of the tuned file is seen from the tensor of the same path in the base, else from the one of the same
    name in its section; from their first elements on where the sizes differ; converted where the dtypes do. What has no
    counterpart is compressed by itself, and what is no tensor against the base's.
    Fails   CheckpointError if a checkpoint consists of several files or changes; OutputError as `DeltaWriter` does
    """
    with ExitStack() as stack:
        readers = [stack.enter_context(side.checkpoint.open()) for side in (base, tuned)]
        old, new = FileStage(readers[0], "stages.base"), FileStage(readers[1], "stages.tuned")
        if REST in new.located:
            fact = f"has a tensor `{REST}`, which is what delta files call all that is no tensor"
            raise CheckpointError(fact, where=str(tuned.checkpoint.path), hint="--keep weights")
        inputs = [base.checkpoint.path, tuned.checkpoint.path]
        entries = [region.entry for region in new.located.values()]
        pieces = rest_pieces(new.rest_size)
        writer = stack.enter_context(DeltaWriter(path, entries, inputs, rest=len(pieces), force=force))
        digest = stack.enter_context(ThreadPoolExecutor(1)).submit(sha256_of, tuned.checkpoint.path)
        sources = _sources(base, tuned, old, new)
        files = _Whole(base, old), _Whole(tuned, new)
        records = {record.entry.name: record for record in _records(*files, sources, writer, threads)}
        packed = in_order(lambda span: packed_after(new.rest(*span), rest_known(old, *span)), pieces, threads)
        rest = tuple(map(writer.add, packed))
        writer.close_tensor(REST, sum(rest))
        whole = WholeFile(tuned.checkpoint.size, digest.result(), rest)
        sides = side_of(base, threads, seen=files[0].seen), side_of(tuned, threads, name, seen=files[1].seen)
        delta = Delta("exact", {}, *sides, None, BY, records, whole)
        for reader in readers:
            reader.check_unchanged()
        writer.finish(delta)
    return delta


class _Whole:
    """A file, and what is seen meanwhile of the section that its fingerprint is of."""

    def __init__(self, section: Section, stage: FileStage) -> None:
        self.stage = stage
        self.seen = digests_of(section)
        # Regions that are whole tensors of the section.
        self._names = {
            tensor.dotted: name
            for name, tensor in section.tensors.items()
            if tensor.contiguous and tensor.entry.nbytes == tensor.storage.nbytes
        }

    def see(self, region: str, start: int, bits: np.ndarray) -> None:
        """Elements of a region from `start` on: of each the same pieces, should they come more than once."""
        if region in self._names:
            self.seen.see(self._names[region], start, bits)


def _records(
    base: _Whole, tuned: _Whole, sources: dict[str, str], writer: DeltaWriter, threads: int
) -> Iterator[Record]:
    def encoded(job: tuple[Region, Piece, str]) -> tuple[Region, Piece, str, bytes]:
        region, piece, way = job
        source = sources.get(region.entry.name)
        bits = tuned.stage.bits(region.entry.name, piece.start, piece.stop)
        known = known_bits(base.stage, source, region.entry, piece.start, piece.stop)
        tuned.see(region.entry.name, piece.start, bits)
        if source is not None and base.stage.regions[source][1:] == region.entry[1:] and len(known) == len(bits):
            base.see(source, piece.start, known)
        same = np.array_equal(bits.view(known.dtype), known)
        return region, piece, way, b"" if same else pack(bits, known, way)  # type: ignore[arg-type]

    def jobs() -> Iterator[tuple[Region, Piece, str]]:
        for region in tuned.stage.located.values():
            way = _way(base.stage, tuned.stage, sources.get(region.entry.name), region)
            yield from ((region, piece, way) for piece in pieces_of(region.entry))

    sizes: list[int] = []
    for region, piece, way, content in in_order(encoded, jobs(), threads):
        sizes.append(writer.add(content))
        if piece.stop == region.entry.size:
            writer.close_tensor(region.entry.name, sum(sizes))
            yield Record(region.entry, way, tuple(sizes), at=region.at, source=sources.get(region.entry.name))
            sizes = []


def _way(base: FileStage, tuned: FileStage, source: str | None, region: Region) -> str:
    if source is None:
        return "plain"
    start, stop = sample_of(region.entry)
    return best_way(tuned.bits(region.entry.name, start, stop), known_bits(base, source, region.entry, start, stop))


def _sources(base: Section, tuned: Section, base_stage: FileStage, tuned_stage: FileStage) -> dict[str, str]:
    """For regions of the tuned file, the region of the base that they are seen from."""
    firsts = {region.tensor.storage.key: name for name, region in base_stage.located.items()}
    by_path = {tensor.dotted: tensor for tensor in base.checkpoint.tensors}
    found = {}
    for name, region in tuned_stage.located.items():
        same = by_path.get(name)
        if same is None and tuned.tensors.get(region.tensor.entry.name) is region.tensor:
            same = base.tensors.get(region.tensor.entry.name)
        if same is not None and same.offset == region.tensor.offset and same.storage.key in firsts:
            found[name] = firsts[same.storage.key]
    return found
