"""The recipe that is run again: what the checkpoint carries or another, its inputs found, its questions left out."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from weightmath import recipe
from weightmath.checkpoint import Checkpoint
from weightmath.checkpoint.hub import is_in_hub
from weightmath.errors import CheckpointError, RecipeError, shell_word
from weightmath.provenance.compose import file_name
from weightmath.provenance.record import Record
from weightmath.recipe import Recipe
from weightmath.recipe.recipe import of_document

# What does not change a tensor of the output.
_LEFT_OUT = ("show", "expect", "provenance")


def recipe_again(
    checkpoint: Checkpoint, record: Record | None, path: Path | None, sets: Sequence[str], inputs: Sequence[str]
) -> Recipe:
    """The recipe at `path`; without one the recipe of the record.

    Its inputs are looked for where they lay as seen from the checkpoint, and beside it.

    sets, inputs   what the command line changes: `name=value`, `name=PATH`
    Fails with CheckpointError where there is neither, and with RecipeError where inputs are not found.
    """
    if path is not None:
        found = recipe.load(path)
    elif record is not None:
        found = recipe.of_data(record.recipe, record.name, checkpoint.path.parent / record.name)
    else:
        raise CheckpointError(
            "carries no record of how it was made", where=str(checkpoint.path), hint="say how: --recipe RECIPE"
        )
    kept = {key: value for key, value in found.document.data.items() if key not in _LEFT_OUT}
    quiet = of_document(found.text, replace(found.document, data={**kept, "provenance": "none"}), found.path)
    beside = [] if path is not None else list(_beside(quiet, checkpoint.path.parent))
    whole = recipe.with_overrides(quiet, sets=sets, inputs=[*beside, *inputs])
    _check_found(whole)
    return whole


def output_of(again: Recipe, checkpoint: Checkpoint, record: Record | None) -> str:
    """Which entry of `save` the checkpoint is: the only one, or the one of its name. RecipeError where none is."""
    names = list(again.spec.save)
    if len(names) == 1:
        return names[0]
    called = {checkpoint.path.name, *([record.output] if record is not None else [])}
    fitting = [name for name in names if file_name(name).rstrip("/") in called or name in called]
    if len(fitting) != 1:
        raise RecipeError(
            f"cannot tell which of its outputs `{checkpoint.path.name}` is: {' '.join(names)}",
            where=again.where("save"),
            hint="verify a copy of the recipe that saves this one alone",
        )
    return fitting[0]


def _beside(again: Recipe, folder: Path) -> Iterator[str]:
    """Of inputs that are not where they lay and are in this folder, what `--input` would say."""
    for name, place in _missing(again):
        pattern = os.path.join(glob.escape(str(folder)), file_name(place))
        if again.spec.inputs[name].glob is not None:
            yield f"{name}={pattern}"
        elif (folder / file_name(place)).exists():
            yield f"{name}={folder / file_name(place)}"


def _check_found(again: Recipe) -> None:
    missing = dict(_missing(again))
    if missing:
        names = ", ".join(f"`{name}` ({path})" for name, path in missing.items())
        words = [f"{name}=PATH/{os.path.basename(path)}" for name, path in missing.items()]
        flags = " ".join(f"--input {shell_word(word)}" for word in words)
        are = "is an input" if len(missing) == 1 else "are inputs"
        raise RecipeError(f"there {are} that cannot be found: {names}", where=again.where("inputs"), hint=flags)


def _missing(again: Recipe) -> Iterator[tuple[str, str]]:
    """Inputs that are not there, and their paths."""
    for name, spec in again.spec.inputs.items():
        if spec.glob is not None:
            if not glob.glob(str(again.resolve(spec.glob)), recursive=True):
                yield name, spec.glob
        elif spec.path is not None and not is_in_hub(spec.path) and not again.resolve(spec.path).exists():
            yield name, spec.path
