"""What pydantic says of a recipe, as one error of ours: the place in the file, the fact, the way out."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError

from weightmath.errors import RecipeError, nearest
from weightmath.recipe.document import Document, Path
from weightmath.recipe.keys import Keys, shown
from weightmath.recipe.metric import MetricSpec
from weightmath.recipe.spec import AsSpec, InputSpec, RecipeSpec, SaveSpec
from weightmath.recipe.vary import VarySpec

# What other tools, or common sense, call our keys.
_OTHER_WORDS = {
    "output": "save",
    "outputs": "save",
    "out": "save",
    "models": "inputs",
    "parameters": "params",
    "variables": "let",
    "steps": "let",
    "print": "show",
    "assert": "expect",
    "exclude": "except",
    "include": "only",
    "file": "path",
    "files": "glob",
    "paths": "glob",
    "sort_by": "sort",
    "top": "best",
    "prefix": "strip",
    "out_dtype": "dtype",
    "copy_from": "template",
    "sweep": "vary",
    "evaluate": "metric",
    "command": "run",
}
# How deep the keys are that a message names: below are patterns, and words of pydantic's for the ways to write one.
_DEPTHS = {"integers": 1, "buffers": 1, "fit": 1, "metric": 2}
_EXAMPLES = {"save": "merged.ckpt: merged", "inputs": "base: base.ckpt", "path": "path: base.ckpt"}
_PARTS: dict[str, type[Keys]] = {"inputs": InputSpec, "vary": VarySpec, "metric": MetricSpec}
_EXPECTED = {
    "string_type": "text",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "tuple_type": "a list",
}
_MODELS = {"inputs": "a path or a mapping", "vary": "a mapping", "metric": "a command or a mapping"}


def translated(error: ValidationError, document: Document) -> RecipeError:
    """The first fault in the order of the file; a key that is missing comes last, since a misspelt one explains it."""
    faults = [
        (_as_written(_path(fault["loc"], fault.get("ctx", {})), document), fault)
        for fault in error.errors(include_url=False)
    ]
    path, fault = min(faults, key=lambda pair: (pair[1]["type"] == "missing", _line(document, pair[0])))
    what, hint = _described(path, fault)
    return RecipeError(what, where=document.where(path), hint=hint)


def _path(location: tuple[str | int, ...], context: dict[str, Any]) -> Path:
    # "[key]" marks that the key, not its value, is wrong.
    return tuple(part for part in location if part != "[key]") + tuple(context.get("at", ()))


def _as_written(path: Path, document: Document) -> Path:
    """The path without the key that a short form leaves out."""
    short = path[:2] in (("vary", "grid"), ("metric", "run")) and path[:2] not in document.lines
    return (*path[:1], *path[2:]) if short else path


def _line(document: Document, path: Path) -> int:
    return next((document.lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in document.lines), 0)


def _described(path: Path, fault: Any) -> tuple[str, str | None]:
    """Fact and way out of one fault."""
    kind, context, given = fault["type"], fault.get("ctx", {}), fault["input"]
    names = path[: _DEPTHS.get(str(path[0]))]
    key = str([part for part in names if isinstance(part, str)][-1])
    if kind == "weightmath":
        return context["fact"], context["hint"]
    if kind == "extra_forbidden":
        return f"unknown key `{key}`", _known_keys(path, key)
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"])
        return f"`{key}` cannot be {shown(given)}", nearest(str(given), choices) or "one of: " + " ".join(choices)
    if kind == "model_type" and given is not None:
        return f"`{key}` must be {_MODELS[str(path[0])]}, not {shown(given)}", None
    if kind in _EXPECTED and given is not None:
        quote = kind == "string_type" and isinstance(given, int | float)
        return f"`{key}` must be {_EXPECTED[kind]}, not {shown(given)}", "put it in quotes" if quote else None
    if kind == "missing":
        return f"the key `{key}` is missing", _example(key)
    return f"`{key}` is empty", _example(key)


def _example(key: str) -> str | None:
    return f"for example: {_EXAMPLES[key]}" if key in _EXAMPLES else None


def _known_keys(path: Path, key: str) -> str:
    model: type[Keys] = RecipeSpec
    if len(path) > 1:
        model = AsSpec if "as" in path[2:-1] else _PARTS.get(str(path[0]), SaveSpec)
    known = [field.alias or name for name, field in model.model_fields.items()]
    if _OTHER_WORDS.get(key) in known:
        return f"it is called `{_OTHER_WORDS[key]}` here"
    if path[0] == "vary" and nearest(key, known) is None:
        return f"beside `grid`, `zip` and `random`, lists of a parameter are written grid: {{{key}: [0, 0.5, 1]}}"
    return nearest(key, known) or "the keys here are: " + " ".join(known)
