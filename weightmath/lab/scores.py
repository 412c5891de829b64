"""Scores of models that were measured elsewhere."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from weightmath.checkpoint.ending import bare
from weightmath.errors import RecipeError


def read_scores(file: Path, models: Sequence[Path]) -> dict[Path, float]:
    """The score of each model that a file tells: JSON from names to numbers, or lines `name,score`.

    The lines may have a head. A name is the model's path as it is given here, or its file name, with or without the
    ending. Fails with RecipeError for a file that cannot be read, a score that is no number, a model without a score,
    and a name of several models.
    """
    try:
        text = file.read_text(encoding="utf-8")
        rows = list(json.loads(text).items()) if file.suffix == ".json" else _rows(text)
        known = {str(name).strip(): float(score) for name, score in rows}
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", where=str(file)) from None
    except (ValueError, TypeError, AttributeError):
        hint = '{"a.ckpt": 0.91, "b.ckpt": 0.93} in a .json file, or lines such as a.ckpt,0.91'
        raise RecipeError("are no scores", where=str(file), hint=hint) from None
    found: dict[Path, float] = {}
    taken: dict[str, Path] = {}
    for path in models:
        names = [name for name in (str(path), path.name, bare(path)) if name in known]
        if not names:
            raise RecipeError(f"there is no score of `{path.name}`", where=str(file))
        other = taken.setdefault(names[0], path)
        if other != path:
            fact = f"`{names[0]}` may be `{other}` or `{path}`"
            raise RecipeError(fact, where=str(file), hint="name them there as they are named here, with their folders")
        found[path] = known[names[0]]
    return found


def _rows(text: str) -> list[list[str]]:
    """The first two cells of each line, without a head: a first line whose second cell is no number."""
    rows = [row[:2] for row in csv.reader(text.splitlines()) if row]
    try:
        float(rows[0][1])
    except (ValueError, IndexError):
        return rows[1:] or rows
    return rows
