"""What the command line changes in a recipe: parameters and paths; or a recipe made of the command line alone."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from weightmath.checkpoint.hub import absolute
from weightmath.errors import RecipeError, nearest
from weightmath.paths import expanded
from weightmath.recipe import document as yaml_document
from weightmath.recipe.keys import type_of
from weightmath.recipe.plain_data import of_data
from weightmath.recipe.recipe import SET, Recipe, of_document
from weightmath.recipe.vary import filled
from weightmath.several import several

EXPRESSION = "-e"  # what messages call the recipe that a command line is
Changes = str | Sequence[str] | Mapping[str, Any]  # `name=value`, one or more; or values by name


def changes_of(given: Changes) -> tuple[str, ...]:
    """Changes as the command line has them; what is no number of Python, such as numpy's, is made one."""
    if not isinstance(given, Mapping):
        return several(given)
    texts = {
        name: str(value) if isinstance(value, str | Path) else json.dumps(value, default=float)
        for name, value in given.items()
    }
    return tuple(f"{name}={text}" for name, text in texts.items())


def with_overrides(
    recipe: Recipe, *, sets: Sequence[str] = (), inputs: Sequence[str] = (), outputs: Sequence[str] = ()
) -> Recipe:
    """The recipe with other parameters and paths; it is checked again.

    Parameters
        sets     `name=value`; the value is read as in the recipe, and is of the same type as the one it replaces
                 (a number and a table of patterns stand for each other)
        inputs   `name=PATH`; for a list, or to make one, `name=PATTERN`
        outputs  `NAME=PATH`, NAME as in `save`; or `PATH` where the recipe saves one output

    Paths are relative to the current folder, not to the recipe's. Where everything that varies is set, the recipe is
    that of one point. Fails with RecipeError for an unknown name, a value of another type, and whatever `load` refuses.
    """
    data = {**recipe.document.data}
    data["params"] = {**(data.get("params") or {})}
    data["inputs"] = {**data["inputs"]}
    for change in sets:
        name, text = _split(change, "--set", "strength=0.7")
        _check_known(name, recipe, "params", f"--set {change}")
        data["params"][name] = _value(text, data["params"][name], f"--set {change}")
    for change in inputs:
        name, path = _split(change, "--input", "base=base.ckpt")
        _check_known(name, recipe, "inputs", f"--input {change}")
        data["inputs"][name] = _read_elsewhere(data["inputs"][name], path)
    changed = of_document(recipe.text, replace(recipe.document, data=data), recipe.path)
    flags = {SET: sets, "--input ": inputs, "--output ": outputs}
    given = tuple(f"{flag}{change}" for flag, changes in flags.items() for change in changes)
    changed = replace(changed, outputs=recipe.outputs, changes=recipe.changes + given)
    if changed.spec.vary is not None and not changed.varying:
        changed = _point(changed)
    return replace(changed, outputs=_moved(changed, outputs))


def _point(recipe: Recipe) -> Recipe:
    """The recipe of the point that its parameters are: nothing varies, and files' names have values for their braces.

    Fails with RecipeError where two outputs would be one file.
    """
    names = {name: filled(name, recipe.spec.params) for name in recipe.outputs}
    replace(recipe, outputs=names)  # checks that they are several files
    data = {key: value for key, value in recipe.document.data.items() if key not in ("vary", "metric")}
    data["save"] = {names[name]: output for name, output in data["save"].items()}
    return replace(of_document(recipe.text, replace(recipe.document, data=data), recipe.path), changes=recipe.changes)


def from_expression(expression: str | Sequence[str], inputs: Sequence[str], output: str | None) -> Recipe:
    """The recipe that `weightmath run -e EXPRESSION a=x.ckpt b=y.ckpt -o out.ckpt` stands for.

    `inputs` are `name=PATH`, or `name=PATTERN` for a list, `output` is a path, all relative to the current folder.
    Without an output the expression is shown, or each of several. Messages call it `-e`.
    """
    if not inputs:
        raise RecipeError("there is no input", where=EXPRESSION, hint="name each: a=x.ckpt b=y.ckpt")
    named: dict[str, Any] = {}
    for given in inputs:
        name, path = _split(given, EXPRESSION, "a=x.ckpt")
        if name in named:
            hint = f'a list has one pattern: {name}="runs/*.ckpt"'
            raise RecipeError(f"the input `{name}` is given twice", where=EXPRESSION, hint=hint)
        named[name] = {"glob": path} if _is_pattern(path) else path
    expressions = [*several(expression)]
    if output is None:
        return of_data({"inputs": named, "show": expressions}, EXPRESSION)
    if len(expressions) > 1:
        hint = "without -o all are shown; a recipe saves several outputs in one run"
        raise RecipeError("one expression is saved to an output, and there are several", where=EXPRESSION, hint=hint)
    return of_data({"inputs": named, "save": {output: expressions[0]}}, EXPRESSION)


def _split(change: str, flag: str, example: str) -> tuple[str, str]:
    name, equals, value = change.partition("=")
    if not equals or not name or not value:
        shape = "name=PATH" if flag != "--set" else "name=value"
        raise RecipeError(f"`{change}` is not of the form {shape}", where=flag, hint=f"for example: {example}")
    return name, value


def _check_known(name: str, recipe: Recipe, section: str, where: str) -> None:
    known: Mapping[str, object] = getattr(recipe.spec, section)
    if name in known:
        return
    word = {"params": "parameter", "inputs": "input"}[section]
    if section == "params" and name in recipe.spec.inputs:
        hint: str | None = f"it is an input: --input {name}=PATH"
    elif section == "inputs" and name in recipe.spec.params:
        hint = f"it is a parameter: --set {name}=value"
    else:
        listed = f"the {word}s are: {' '.join(known)}" if known else f"the recipe has no {word}s"
        hint = nearest(name, known) or listed
    raise RecipeError(f"unknown {word} `{name}`", where=where, hint=hint)


def _value(text: str, before: object, where: str) -> object:
    """The value that a text stands for, of the same type as the one before."""
    if isinstance(before, str):
        return text
    value: object = yaml_document.scalar(text)
    if text[0] in "[{":
        value = yaml_document.load(f"value: {text}", where).data["value"]
    if type_of(value) != type_of(before) and {type_of(value), type_of(before)} != {"a number", "a table"}:
        raise RecipeError(f"{json.dumps(value)} is {type_of(value)}, and the recipe has {type_of(before)}", where=where)
    return value


def _moved(recipe: Recipe, changes: Sequence[str]) -> dict[str, str]:
    """The path of each output after the changes."""
    outputs, moved = dict(recipe.outputs), set()
    for change in changes:
        name, equals, path = change.partition("=")
        if len(outputs) == 1 and name not in outputs and not (equals and nearest(name, outputs)):
            # `epoch=9.ckpt` is a path: only what looks like the output's name is taken for one.
            (name,), equals, path = outputs, "=", change
        if not equals or name not in outputs:
            listed = " ".join(f"{known}=PATH" for known in outputs)
            which = f"say which: {listed}" if listed else f"it saves nothing: save: {{{change}: ...}}"
            hint = (nearest(name, outputs) if equals else None) or which
            raise RecipeError(f"`{name}` is not an output of the recipe", where=f"--output {change}", hint=hint)
        if name in moved:
            raise RecipeError(f"`{name}` is one output, and gets a second path", where=f"--output {change}")
        outputs[name] = _target(path)
        moved.add(name)
    return outputs


def _read_elsewhere(before: object, path: str) -> dict[str, Any]:
    """What the recipe says of an input, with another path or pattern."""
    kept = {key: value for key, value in before.items() if key != "path"} if isinstance(before, dict) else {}
    if "glob" in kept or _is_pattern(path):
        # The current folder may itself have brackets in its name.
        pattern = os.path.expanduser(path if _is_pattern(path) else glob.escape(path))
        return {**kept, "glob": os.path.join(glob.escape(os.getcwd()), pattern)}
    return {**kept, "path": absolute(path)}


def _is_pattern(path: str) -> bool:
    return glob.has_magic(path) and not os.path.exists(os.path.expanduser(path))


def _target(path: str) -> str:
    """An output's path as it is from anywhere; a folder ends as one."""
    return os.path.abspath(expanded(path)) + ("/" if path.endswith("/") else "")
