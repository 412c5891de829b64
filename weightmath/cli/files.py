"""Text files that commands write beside what they print."""

from __future__ import annotations

import os
from pathlib import Path


def check_free(path: Path, option: str, *, force: bool) -> None:
    """OutputError where a file cannot be written: it exists, without `force`, or is a folder, or has none to lie in."""
    from weightmath.errors import OutputError

    if path.is_dir():
        raise OutputError("is a directory", where=str(path), hint=f"{option} names a file")
    if path.exists() and not force:
        raise OutputError("exists", where=str(path), hint="another name, or --force to replace it")
    if not path.parent.is_dir():
        raise OutputError("its folder does not exist", where=str(path))


def write_whole(path: Path, text: str) -> None:
    """Write a text file that appears whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
