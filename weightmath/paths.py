"""Paths as users write them in recipes and in Python, where no shell has seen them."""

from __future__ import annotations

import os
from pathlib import Path


def expanded(path: str | Path) -> Path:
    """The path with the home folder in place of a leading `~`."""
    return Path(os.path.expanduser(path))
