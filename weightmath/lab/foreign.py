"""Functions of the user's own: imported only with leave, and whatever they do wrong is told as an error of ours."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from weightmath.errors import MetricError
from weightmath.recipe.metric import is_function


def imported(what: str, name: str, folder: Path, *, allowed: bool) -> Callable[..., Any]:
    """The function `module:function`; modules are looked for in the folder first. `what` is what messages call it.

    Fails with MetricError where it is none, is not allowed, or cannot be imported.
    """
    if not is_function(name):
        raise MetricError(f"`{name}` is no function", where=what, hint="module:function")
    if not allowed:
        fact = "is code that would run in this process, which only you can allow"
        raise MetricError(fact, where=f"{what} {name}", hint="--allow-code, if you trust it")
    module, _, function = name.partition(":")
    if str(folder.resolve()) not in sys.path:
        sys.path.insert(0, str(folder.resolve()))  # for good: the function may import its neighbours later
    try:
        found: Any = importlib.import_module(module)
        for part in function.split("."):
            found = getattr(found, part)
    except Exception as error:  # noqa: BLE001 - whatever a module of the user's does while it is imported
        raise MetricError(f"cannot be imported: {_told(error)}", where=f"{what} {name}") from None
    checked: Callable[..., Any] = found
    return checked


def called(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns. MetricError where it fails."""
    try:
        return function(*arguments)
    except Exception as error:  # noqa: BLE001 - whatever a function of the user's does
        raise MetricError(f"fails: {_told(error)}", where=f"{what} {name_of(function)}") from None


def name_of(function: Callable[..., Any]) -> str:
    """A function as a command line would say it."""
    name = getattr(function, "__qualname__", type(function).__name__).replace("<", "").replace(">", "")
    return f"{function.__module__}:{name}"


def _told(error: Exception) -> str:
    """An error of code that is not ours, with the line where it happened; none where that is in this file."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    place = f"\n  {frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
