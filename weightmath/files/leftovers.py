"""What runs that were stopped have left: found by its hidden names, and removed."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from weightmath.checkpoint.draft import bytes_on_disk
from weightmath.checkpoint.lock import MARK, PREFIX, hidden, is_locked
from weightmath.errors import OutputError

_KINDS = ("part", "journal", "old", "dense", "encoded", "between", "points")
_HIDDEN = re.compile(re.escape(PREFIX) + "(.+)" + re.escape(MARK) + rf"\.({'|'.join(_KINDS)})")


@dataclass(frozen=True)
class Leftover:
    """Something that a run has left.

    path     where it lies
    output   what it belongs to, which may not exist
    kind     part: an unfinished output; journal: what of it is done; old: a folder that stepped aside for a new one;
             dense: numbers of a delta file that were not encoded yet; encoded: such a file that lacks its name;
             between: the file between two exact deltas; points: checkpoints that a sweep was measuring
    bytes    on the disk
    in_use   whether a run is at work on it now
    """

    path: Path
    output: Path
    kind: str
    bytes: int
    in_use: bool

    def remove(self) -> None:
        """Remove it; an old folder whose place is empty gets its name back."""
        if self.kind == "old" and not self.output.exists():
            os.rename(self.path, self.output)
        elif self.path.is_dir():
            shutil.rmtree(self.path)
        else:
            self.path.unlink(missing_ok=True)


def leftovers(where: Path) -> list[Leftover]:
    """What lies in a folder, and what lies beside the output of that name, which need not exist.

    Fails with OutputError where there is neither.
    """
    beside = [hidden(where, kind) for kind in _KINDS] if where.name else []
    beside = [path for path in beside if path.exists()]
    inside = sorted(where.iterdir()) if where.is_dir() else []
    if not beside and not where.exists():
        raise OutputError("there is no such folder or output", where=str(where))
    found = ((path, _HIDDEN.fullmatch(path.name)) for path in (*beside, *inside))
    return [
        Leftover(path, path.with_name(match[1]), match[2], bytes_on_disk(path), is_locked(path))
        for path, match in found
        if match and not path.is_symlink()
    ]
