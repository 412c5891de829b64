"""Recipes from and to plain data: what an output carries of the recipe that made it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from weightmath.recipe.document import Document
from weightmath.recipe.recipe import Recipe, of_document


def text_of(data: Mapping[str, Any]) -> str:
    """The YAML of a recipe's data, with shorthands where they say the same: a lone path, a lone expression."""
    short = {**data, "inputs": _shortened(data["inputs"], "path"), "save": _shortened(data["save"], "value")}
    return yaml.safe_dump(short, sort_keys=False, allow_unicode=True, width=1_000_000)


def _shortened(entries: Mapping[str, Any], lone: str) -> dict[str, Any]:
    return {name: entry[lone] if list(entry) == [lone] else entry for name, entry in entries.items()}


def of_data(data: Mapping[str, Any], name: str, path: Path | None = None) -> Recipe:
    """The recipe that the data are; `name` is what messages call it, and paths are relative to the folder of `path`.

    Fails with RecipeError as `load` does.
    """
    return of_document(
        yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True), Document(name, dict(data), {}), path
    )
