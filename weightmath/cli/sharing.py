"""Options that several commands share, as one value: a dataclass, whose fields are options as parameters are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any, get_type_hints


def sharing(command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes a dataclass, as one that has its fields as options.

    Fields without a default stand where the dataclass does among the parameters, the others after all parameters: help
    then lists what must be given, what is the command's own, and what it shares.
    """
    own: list[Parameter] = []
    shared: list[Parameter] = []
    groups: dict[str, Any] = {}
    hints = get_type_hints(command, include_extras=True)
    for parameter in signature(command).parameters.values():
        kind = hints[parameter.name]
        if not is_dataclass(kind):
            own.append(parameter.replace(annotation=kind))
            continue
        groups[parameter.name] = kind
        for option in _options(kind):
            (own if option.default is Parameter.empty else shared).append(option)

    @wraps(command)
    def called(**given: Any) -> None:
        values = {
            name: kind(**{each.name: given.pop(each.name) for each in fields(kind)}) for name, kind in groups.items()
        }
        command(**given, **values)

    parameters = [*own, *shared]
    called.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    return called


def _options(kind: Any) -> list[Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        Parameter(
            each.name,
            Parameter.POSITIONAL_OR_KEYWORD,
            default=Parameter.empty if each.default is MISSING else each.default,
            annotation=hints[each.name],
        )
        for each in fields(kind)
    ]
