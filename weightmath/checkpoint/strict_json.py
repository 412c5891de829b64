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
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise CheckpointError(f"says `{name}` twice")
        found[name] = value
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(word)
