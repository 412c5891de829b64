"""Hidden files and folders that one process at a time may work on; the system lets go of them when it dies."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from weightmath.errors import OutputError

PREFIX, MARK = ".", ".weightmath"
_PATIENCE = 0.5  # seconds
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF)


def hidden(path: Path, kind: str) -> Path:
    """Where something that belongs to an output lies: `merged.ckpt` and `part` give `.merged.ckpt.weightmath.part`."""
    return path.with_name(f"{PREFIX}{path.name}{MARK}.{kind}")


def open_own(path: Path, *, create: bool = False) -> int:
    """Open a hidden file to read and write, or a hidden folder; raises OSError for a link.

    Their names can be told beforehand: in a folder that others can write to, one may lie there that leads to a file of
    ours, to be overwritten.
    """
    if path.is_dir():
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    return os.open(path, os.O_RDWR | os.O_NOFOLLOW | (os.O_CREAT if create else 0), 0o666)


def acquire(path: Path, make: Callable[[], None]) -> int | None:
    """Lock a file or folder, which `make` makes if there is none; close what is returned to let go.

    None if another process has it. Raises OSError.
    """
    while True:
        make()
        try:
            handle = open_own(path)
        except FileNotFoundError:
            continue  # whoever had it has just removed it
        if not _lock(handle):
            os.close(handle)
            return None
        if _is_at(handle, path):
            return handle
        os.close(handle)


def is_locked(path: Path) -> bool:
    """Whether a process is at work on an existing file or folder; none is on a link."""
    if path.is_symlink():
        return False
    handle = open_own(path)
    try:
        return not _lock(handle)
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    """Lock an open file, unless another process has it."""
    # Processes that helped a run which was killed outlive it by a chunk, and hold its files.
    patience = time.monotonic() + _PATIENCE
    try:
        while not _try_lock(handle):
            if time.monotonic() > patience:
                return False
            time.sleep(0.01)
    except OSError as error:
        # Some network file systems have no locks: nobody is kept out there.
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def being_written(target: Path) -> OutputError:
    """The error of a run that comes second."""
    return OutputError("another run is writing it", where=str(target), hint="wait for it, or choose another name")


def _is_at(handle: int, path: Path) -> bool:
    """Whether a path still leads to an open file: it may have been published or removed before it was locked."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
