"""Text files that commands write beside what they print."""

from __future__ import annotations

import os
from pathlib import Path


def check_free(path: Path, option: str, *, force: bool, hint: str = "another name, or --force to replace it") -> None:
    """OutputError where a file cannot be written: it is a folder, has none to lie in, or exists without `force`.

    hint   the way out where it exists
    """
    from weightmath.errors import OutputError

    if path.is_dir():
        raise OutputError("is a directory", where=str(path), hint=f"{option} names a file")
    if path.exists() and not force:
        raise OutputError("exists", where=str(path), hint=hint)
    if not path.parent.is_dir():
        raise OutputError("its directory does not exist", where=str(path), hint=f"mkdir -p {path.parent}")


def write_whole(path: Path, text: str) -> None:
    """Write a text file that appears whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
