"""Where models lie in a landscape, and what they are called there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from weightmath.checkpoint.ending import bare
from weightmath.lab.table import Table


def places_of(table: Table) -> list[tuple[str, Sequence[float]]]:
    """The models that the table's head marks: a name and coordinates of each.

    A model is called like its file, or where two files are called alike, as in the recipe.
    """
    models = table.head.about.get("models", ())
    files = [bare(Path(model["path"])) for model in models]
    names = files if len(set(files)) == len(files) else [str(model["name"]) for model in models]
    return [(name, model["place"]) for name, model in zip(names, models, strict=True)]
