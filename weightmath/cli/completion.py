"""What a shell offers to complete: names of the gallery, of functions and methods, and of what a recipe defines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from weightmath.recipe import Recipe


def kinds(incomplete: str) -> list[tuple[str, str]]:
    """Recipes of the gallery, with what they are for."""
    from weightmath.gallery import starters

    return [(one.kind, one.want) for one in starters().values() if one.kind.startswith(incomplete)]


def functions(incomplete: str) -> list[tuple[str, str]]:
    """Functions, with their first lines."""
    from weightmath.functions import FUNCTIONS

    return [(name, one.summary) for name, one in FUNCTIONS.items() if name.startswith(incomplete)]


def methods(incomplete: str) -> list[tuple[str, str]]:
    """Methods, with their first lines."""
    from weightmath.methods import load

    return [(name, one.summary) for name, one in load().items() if name.startswith(incomplete)]


def params(ctx: typer.Context, incomplete: str) -> list[str]:
    """`NAME=` for each parameter of the recipe on the command line."""
    recipe = _recipe(ctx)
    return _assignments(recipe.spec.params if recipe else (), incomplete)


def inputs(ctx: typer.Context, incomplete: str) -> list[str]:
    """`NAME=` for each input of the recipe on the command line."""
    recipe = _recipe(ctx)
    return _assignments(recipe.spec.inputs if recipe else (), incomplete)


def outputs(ctx: typer.Context, incomplete: str) -> list[str]:
    """`NAME=` for each output of the recipe on the command line."""
    recipe = _recipe(ctx)
    return _assignments(recipe.outputs if recipe else (), incomplete)


def _assignments(names: Iterable[str], incomplete: str) -> list[str]:
    return [f"{name}=" for name in names if f"{name}=".startswith(incomplete)]


def _recipe(ctx: typer.Context) -> Recipe | None:
    """The recipe that is being run, if it can be read: who completes a line wants no message."""
    from weightmath.errors import RecipeError
    from weightmath.recipe import load

    # Words before an option without its value are left over, not yet anyone's.
    recipe = ctx.params.get("recipe")
    words: Sequence[str] = ctx.params.get("words") or ([recipe] if recipe else ctx.args)
    try:
        return load(words[0]) if words else None
    except RecipeError:
        return None
