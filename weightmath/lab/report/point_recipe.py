"""The recipe behind each point: the text of a swept recipe, with the point's own values for its parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_KEY = re.compile(r"( +)([A-Za-z_]\w*) *:")
_OF_SWEEPS = ("vary", "metric")


@dataclass(frozen=True)
class Line:
    """A line of a recipe; where `param` is given the line ends with the value of that parameter."""

    text: str
    param: str | None = None


def lines_of(recipe: str, params: Sequence[str]) -> tuple[Line, ...]:
    """The recipe without `vary` and `metric`, whose lines of these parameters take each point's values.

    A parameter that has no line of its own under `params:` (they are written in one line, or there is none) gets one
    as a comment at the top, in the form of the command line's `--set`.
    """
    found: list[Line] = []
    section = ""
    for text in recipe.rstrip().split("\n"):
        if text[:1] not in ("", " ", "#"):
            section = text.partition(":")[0].strip()
        if section in _OF_SWEEPS:
            continue
        key = _KEY.match(text) if section == "params" else None
        if key is not None and key[2] in params:
            found.append(Line(f"{key[1]}{key[2]}: ", key[2]))
        else:
            found.append(Line(text))
    there = {line.param for line in found}
    return (*(Line(f"# --set {name}=", name) for name in params if name not in there), *found)
