"""Folders for files that are measured and then removed, also after whoever made them was killed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from weightmath.checkpoint.lock import acquire, hidden
from weightmath.errors import TableError


@contextmanager
def scratch(beside: Path | None) -> Iterator[Path]:
    """An empty folder, removed in the end: hidden beside a file whose name it has, else where the system has such.

    What a killed program left there goes first. TableError while another program uses it.
    """
    if beside is None:
        with tempfile.TemporaryDirectory(prefix="weightmath-") as folder:
            yield Path(folder)
        return
    path = hidden(beside, "points")
    handle = acquire(path, partial(path.mkdir, exist_ok=True))
    if handle is None:
        raise TableError("another program is measuring for it", where=str(beside), hint="wait for it, or -o STEM")
    try:
        for left in path.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield path
    finally:
        shutil.rmtree(path)
        os.close(handle)
