"""What a terminal may be shown: names in a file could hold commands to it."""

from __future__ import annotations

# All that moves the cursor, colours, clears or changes the direction of writing; lines and tabs stay.
_CONTROL = [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_SHOWN = {code: repr(chr(code))[1:-1] for code in _CONTROL if chr(code) not in "\n\t"}


def printable(text: str) -> str:
    r"""A text with `\x1b` and the like written out."""
    return text.translate(_SHOWN)
