"""Regular expressions of recipes and adapters, which may be a stranger's: none that could take forever.

Python tries the ways in which an expression can go through a name one after another, and `(a+)+$` has 2^n of them. So
they are counted beforehand, as what an expression says and not as any name is: choices that follow each other multiply,
alternatives add up, a repetition has as many ways as a long name has letters, and one of what has a choice itself has
no bound. Some that are harmless are refused as well; globs have no such ways.
"""

from __future__ import annotations

import math
import re

from weightmath.errors import RecipeError

_LONGEST = 1000
_LETTERS = 100  # of a long name: on one of a thousand, four repetitions take seconds
_MOST = 1e9  # ways: four repetitions, and ten alternatives
# What says something of the ways: an escape, a class, a beginning that changes how the rest is read, an operator.
_TOKEN = re.compile(r"\\.|\[\^?\]?[^\]\\]*(?:\\.[^\]\\]*)*\]|\(\?(?:#|[a-zA-Z]*x)|\(\??|.", re.DOTALL)


def regular(text: str, flags: int = 0) -> re.Pattern[str]:
    """A compiled regular expression. RecipeError for one that is none, or that could take forever."""
    if len(text) > _LONGEST:
        raise RecipeError(f"`re:{text}` is not a regular expression: it is longer than {_LONGEST} letters")
    try:
        compiled = re.compile(text, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise RecipeError(f"`re:{text}` is not a regular expression: {error}") from None
    if _ways(text) > _MOST:
        raise RecipeError(
            f"`re:{text}` could take forever",
            hint="what repeats may hold no repetition or alternative, and four repetitions are enough for a name",
        )
    return compiled


def _ways(text: str) -> float:
    """No fewer than the ways to go through a name of so many letters."""
    around: list[tuple[float, float]] = []  # of the groups that are open, what stood before each
    others, before, last = 0.0, 1.0, 1.0  # finished alternatives; of this one, all but its last item, and that
    for token in _TOKEN.findall(text):
        if token.startswith("(?") and len(token) > 2:
            return math.inf  # comments and free spacing: an operator may stand apart from what it repeats
        if token.startswith("("):
            around.append((others, before * last))
            others, before, last = 0.0, 1.0, 1.0
        elif token == ")":
            last = others + before * last
            others, before = around.pop()
        elif token == "|":
            others, before, last = others + before * last, 1.0, 1.0
        elif token == "?":
            last += 1
        elif token in ("*", "+", "{"):
            last = _LETTERS if last == 1 else math.inf
        else:
            before, last = before * last, 1.0
    return others + before * last
