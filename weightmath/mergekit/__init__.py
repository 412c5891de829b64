"""Coming from mergekit: its configurations become recipes."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from weightmath import recipe
from weightmath.expression import RESERVED
from weightmath.job import callables
from weightmath.mergekit.config import merge_of
from weightmath.mergekit.documents import documents
from weightmath.mergekit.translate import Parts, parts_of
from weightmath.mergekit.writing import text_of
from weightmath.rehearsal import rehearse

# Names that the recipe's own parameters and steps have.
_OWN = "alpha densities direction epsilon epsilons gammas length r scale seed share t weights".split()
_HEADING = "Imported from mergekit's {}. Comments say where mergekit computes something else."
_LIKE = "Imported from mergekit's {}, with its scopes and rescaling. Comments say what still differs."


@dataclass(frozen=True)
class Difference:
    """Where mergekit computes something else: at an entry of `let`, or everywhere (""); and what that is."""

    entry: str
    what: str


@dataclass(frozen=True)
class LeftOut:
    """A key of the configuration that has no part in the recipe, and why."""

    key: str
    why: str


@dataclass(frozen=True)
class Imported:
    """A recipe that was made of a configuration; what its comments say is also here, for programs."""

    text: str
    differences: tuple[Difference, ...]
    left_out: tuple[LeftOut, ...]


def imported(text: str, name: str, *, like: bool = False, folder: Path | None = None) -> Imported:
    """The recipe that computes what a configuration of mergekit does.

    Parameters
        text    the configuration: YAML, one or more documents
        name    what messages call it: its path
        like    take mergekit's scopes and rescaling in place of the papers', so that results agree up to rounding
        folder  where the recipe will lie, if not in the current folder: local paths are written relative to it

    Fails with RecipeError, with line and key, for what mergekit ignores silently (unknown keys, methods, parameters),
    for what would fail in it later (a missing base, parameter or model), and for what weightmath does not do.
    """
    words = [*RESERVED, *callables(), *_OWN]
    parts = parts_of([merge_of(document) for document in documents(text, name)], words, like=like)
    if folder is not None:
        parts = replace(parts, inputs={key: _seen_from(folder, path) for key, path in parts.inputs.items()})
    made = text_of(parts, (_LIKE if like else _HEADING).format(Path(name).name))
    rehearse(recipe.loads(made, f"the recipe of {name}"))
    return Imported(made, _differences(parts), tuple(LeftOut(*pair) for pair in parts.left_out))


def _differences(parts: Parts) -> tuple[Difference, ...]:
    entries = [(name, note) for name, entry in parts.let.items() for note in entry.notes]
    return tuple(Difference(*pair) for pair in [*entries, *(("", note) for note in parts.notes)])


def _seen_from(folder: Path, path: str) -> str:
    """A relative path of the current folder as it is from another one."""
    if path.startswith(("hf:", "/", "~")):
        return path
    seen = os.path.relpath(path, folder)
    return f"{seen}/" if path.endswith("/") else seen
