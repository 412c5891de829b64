"""Opens a checkpoint of any kind: what a file is, is told by its first bytes and never by its name."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

from weightmath.checkpoint.description import Checkpoint, Stamp, check_is_file, unreadable
from weightmath.checkpoint.distributed import is_distributed, open_distributed
from weightmath.checkpoint.folder import find_model
from weightmath.checkpoint.hub import located
from weightmath.checkpoint.records import read_bytes
from weightmath.checkpoint.refusal import refusal
from weightmath.checkpoint.safetensors import is_safetensors, open_safetensors
from weightmath.checkpoint.sharded import is_index, open_sharded
from weightmath.checkpoint.torch_legacy import is_legacy, open_torch_legacy
from weightmath.checkpoint.torch_zip import open_torch_zip
from weightmath.errors import CheckpointError

_HEAD = 512
_LONGEST = 1 << 28


def open_checkpoint(path: str | Path) -> Checkpoint:
    """The description of a checkpoint: of a file, a folder that holds one model, or one in the Hub's local cache.

    path   a torch zip, a legacy torch file, safetensors, an index of shards; a folder with one of them, or with what
           torch.distributed.checkpoint writes; `hf:org/name[@revision][/folder or file]`

    Reads headers and the pickle, no tensor. Nothing in a file is executed or imported.

    Fails   CheckpointError if it is missing, empty, truncated, or no checkpoint that we read; it names what the file
            is where that can be told
    """
    place = located(path)
    if os.path.isdir(place):  # which has no objection to names that are too long
        return replace(_open_file(find_model(place)), path=place)
    return _open_file(place)


def _open_file(path: Path, *, is_shard: bool = False) -> Checkpoint:
    check_is_file(path)
    try:
        with path.open("rb", buffering=0) as file:
            return _open(path, file.fileno(), is_shard)
    except OSError as error:
        raise unreadable(error, path) from None
    except CheckpointError as error:
        error.where = f"{path}: {error.where}" if error.where else str(path)
        raise


def _open(path: Path, file: int, is_shard: bool) -> Checkpoint:
    stamp = Stamp.of(os.fstat(file))
    head = os.pread(file, _HEAD, 0)
    if head.startswith(b"PK\3\4"):
        return open_torch_zip(path, file, stamp)
    if is_legacy(head):
        return open_torch_legacy(path, file, stamp)
    if is_safetensors(head, stamp.size):
        return open_safetensors(path, file, stamp)
    if is_index(head) and is_shard:
        raise CheckpointError("is an index of its own, where a file of weights should be")
    if is_index(head):
        return open_sharded(path, _whole(file, stamp.size), partial(_open_file, is_shard=True))
    if is_distributed(head):
        return open_distributed(path, _whole(file, stamp.size))
    raise refusal(head, stamp.size)


def _whole(file: int, size: int) -> bytes:
    """All of a file that describes others; CheckpointError if no honest one is as long."""
    if size > _LONGEST:
        raise CheckpointError(f"is an index of {size:,} bytes; {_LONGEST:,} are the most that is read")
    return read_bytes(file, 0, size)
