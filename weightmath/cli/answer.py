"""How a command answers: with its record as JSON, or with the same as text for people."""

from __future__ import annotations

from collections.abc import Callable


def answer(record: object, text: Callable[..., None], *more: object, as_json: bool) -> None:
    """Print a record: as JSON, or by the function that prints it for people, which gets `more` too."""
    if as_json:
        from weightmath.plain import as_json as json_of

        print(json_of(record))
    else:
        text(record, *more)
