"""Opens a checkpoint of any kind: what a file is, is told by its first bytes and never by its name."""

from __future__ import annotations

import os
from pathlib import Path

from weightmath.checkpoint.description import Checkpoint, Stamp, check_is_file
from weightmath.checkpoint.safetensors import is_safetensors, open_safetensors
from weightmath.checkpoint.torch_legacy import is_legacy, open_torch_legacy
from weightmath.checkpoint.torch_zip import open_torch_zip
from weightmath.errors import CheckpointError

_RESAVE = "load it where it came from and save it again: torch.save(state_dict, 'new.ckpt')"


def open_checkpoint(path: str | Path) -> Checkpoint:
    """The description of a checkpoint file.

    Reads headers and the pickle, no tensor. Nothing in the file is executed or imported.

    Fails   CheckpointError if the file is missing, empty, a directory, truncated, or no checkpoint that we read;
            it names what the file is where that can be told
    """
    path = Path(path)
    check_is_file(path)
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror}", where=str(path)) from None
    try:
        return _open(path, file)
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except CheckpointError as error:
        error.where = f"{path}: {error.where}" if error.where else str(path)
        raise
    finally:
        os.close(file)


def _open(path: Path, file: int) -> Checkpoint:
    stamp = Stamp.of(os.fstat(file))
    head = os.pread(file, 512, 0)
    if head.startswith(b"PK\3\4"):
        return open_torch_zip(path, file, stamp)
    if is_legacy(head):
        return open_torch_legacy(path, file, stamp)
    if is_safetensors(head, stamp.size):
        return open_safetensors(path, file, stamp)
    raise _refusal(head, stamp.size)


def _refusal(head: bytes, size: int) -> CheckpointError:
    """What to say about a file that is not read."""
    if size == 0:
        return CheckpointError("is empty")
    for magic, offset, name in _KINDS:
        if head[offset : offset + len(magic)] == magic:
            return CheckpointError(f"is {name}, not a checkpoint that weightmath reads", hint=_RESAVE)
    return CheckpointError("is not a checkpoint", hint="expected what torch.save writes")


_KINDS = (
    (b"GGUF", 0, "a GGUF file"),
    (b"\x89HDF\r\n\x1a\n", 0, "an HDF5 file"),
    (b"ustar", 257, "a tar file"),
    (b"\x93NUMPY", 0, "a numpy file"),
    (b"\x1f\x8b", 0, "a gzip file"),
    (b"version https://git-lfs", 0, "a Git LFS pointer: the file itself was not downloaded"),
    (b"\x80", 0, "a plain pickle"),
)
