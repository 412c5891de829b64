"""Whether the bytes of a checkpoint are still those that were written, as far as its container can tell.

Zips, and distributed checkpoints, which are made of them, hold a checksum of every record. Legacy files and
safetensors hold none; what their headers say of sizes is checked whenever one is opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from weightmath.checkpoint.checksum import crc_of
from weightmath.checkpoint.description import Checkpoint
from weightmath.checkpoint.distributed import Parts
from weightmath.checkpoint.records import Record
from weightmath.checkpoint.sharded import Shards
from weightmath.checkpoint.torch_zip import TorchZip


@dataclass(frozen=True)
class Integrity:
    """What a check has found.

    records    whose checksums were compared
    without    records that have no checksum
    problems   what is wrong, one line each
    """

    records: int
    without: int
    problems: tuple[str, ...]


class _Sum(NamedTuple):
    """A run of bytes and the checksum that it should have; None where the file does not say."""

    file: int
    what: str
    offset: int
    size: int
    crc: int | None


def verify_container(checkpoint: Checkpoint) -> Integrity:
    """Read all that has a checksum, and compare. CheckpointError if the file changes meanwhile, or cannot be read."""
    if isinstance(checkpoint.source, Shards):
        return _together(checkpoint.source)
    sums = list(_sums(checkpoint))
    if not any(one.crc for one in sums if one.size):
        # torch.serialization.set_crc32_options(False) leaves all of them 0.
        return Integrity(0, len(sums), ())
    with checkpoint.open() as reader:
        of_file = [partial(reader.read_bytes, file=number) for number in range(len(checkpoint.files))]
        broken = [one for one in sums if crc_of(of_file[one.file], one.offset, one.size) != one.crc]
        reader.check_unchanged()
    problems = (f"{one.what}: its bytes do not have the checksum that was written with them" for one in broken)
    return Integrity(len(sums), 0, tuple(problems))


def _together(shards: Shards) -> Integrity:
    every = [(shard.path.name, verify_container(shard)) for shard in shards.checkpoints]
    problems = tuple(f"{name}: {problem}" for name, found in every for problem in found.problems)
    return Integrity(sum(found.records for _, found in every), sum(found.without for _, found in every), problems)


def _sums(checkpoint: Checkpoint) -> Iterator[_Sum]:
    """Every record of a checkpoint; of other containers, every storage."""
    source = checkpoint.source
    users: dict[str, str] = {}
    for tensor in checkpoint.tensors:
        users.setdefault(tensor.storage.key, tensor.dotted)
    if isinstance(source, Parts):
        yield from (_sum(file, f"a part of `{tensor}`", record) for file, tensor, record in source.records)
    elif isinstance(source, TorchZip) and checkpoint.container == "torch zip":
        for name, record in source.records.items():
            if isinstance(record, Record):
                user = users.get(name.removeprefix("data/"))
                yield _sum(0, f"record `{name}`" + (f" (`{user}`)" if user else ""), record)
    else:
        for key, place in checkpoint.places.items():
            yield _Sum(place.file, key, place.offset, 0, None)


def _sum(file: int, what: str, record: Record) -> _Sum:
    return _Sum(file, what, record.offset, record.size, record.crc)
