"""JSON from strangers: a name that stands twice, a number that is none, or nesting without end is an error."""

from __future__ import annotations

import json
from typing import NoReturn

from weightmath.errors import CheckpointError


def strict_json(text: bytes) -> object:
    """What a JSON text says; CheckpointError where it is not JSON, or says something twice."""
    try:
        return json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise CheckpointError("is not valid JSON") from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise CheckpointError(f"says `{next(name for name in names if names.count(name) > 1)}` twice")
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(word)
