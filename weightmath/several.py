"""Arguments that are lists: a lone text or path is the list of it, not of its letters."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import overload


@overload
def several(given: str | Iterable[str]) -> tuple[str, ...]: ...
@overload
def several(given: str | Path | Iterable[str | Path]) -> tuple[str | Path, ...]: ...
def several(given: str | Path | Iterable[str | Path]) -> tuple[str | Path, ...]:
    """What is given, one or more, as a tuple."""
    return (given,) if isinstance(given, str | Path) else tuple(given)
