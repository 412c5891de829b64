"""Text files: bytes that are text, and what is written beside outputs or in their place, whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from weightmath.errors import OutputError, RecipeError, shell_word, unwritable


def check_free(path: Path, *, force: bool, folder: str, exists: str = "another name, or --force to replace it") -> None:
    """OutputError where a file cannot be written: it is a folder, may lie in none, or exists without `force`.

    folder, exists   the ways out
    """
    if path.is_dir():
        raise OutputError("is a folder", where=str(path), hint=folder)
    if path.exists() and not force:
        raise OutputError("exists", where=str(path), hint=exists)
    check_folder(path)


def check_folder(path: Path) -> None:
    """OutputError where the folder of what is to be written does not exist, or cannot be written to."""
    if not path.parent.is_dir():
        raise OutputError("its folder does not exist", where=str(path), hint=f"mkdir -p {shell_word(path.parent)}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError("its folder cannot be written to", where=str(path), hint="choose another folder")


def decoded(content: bytes, where: str) -> str:
    """The text that these bytes are; RecipeError where they are none."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"is not text: byte {error.start} is not UTF-8", where=where) from None


def write_whole(path: Path, text: str) -> None:
    """Write a text as it is; a file that is there is replaced in one step, and keeps its mode.

    Fails with DiskError, which names the file that is meant, where the system does not let it be written.
    """
    target = path.resolve()
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="")
        if target.exists():
            part.chmod(target.stat().st_mode)
        os.replace(part, target)
    except OSError as error:
        raise unwritable(path, error) from None
    finally:
        with suppress(OSError):  # a system that is read-only says so of a file that is not there, too
            part.unlink()
