"""What an evaluation says, as numbers with names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from weightmath.algebra.graph import is_number
from weightmath.errors import MetricError

_SHOWN = 200
_HINT = 'its last line is a number, or JSON such as {"accuracy": 0.93}'


def parsed(line: str) -> Any:
    """What a line of output says: JSON, or a number as any language prints it (`nan`, `.5`, `1e-3`).

    Fails with MetricError for anything else.
    """
    try:
        return json.loads(line)
    except ValueError:
        pass
    try:
        return float(line)
    except ValueError:
        said = f"says no number: {line[:_SHOWN]}" if line.strip() else "says nothing"
        raise MetricError(f"the metric {said}", hint=_HINT) from None


def numbers_of(answer: Any, names: Iterable[str]) -> dict[str, float]:
    """The numbers of an answer by name: those of a mapping; a lone one is called by the only name, else `metric`.

    What is no number in a mapping is left out, truth values too. Anything with `item()`, such as a tensor of one
    element, is a number. Fails with MetricError where there is none.
    """
    if not isinstance(answer, Mapping):
        only = [*names]
        answer = {only[0] if len(only) == 1 else "metric": answer}
    numbers = {str(name): _number(value) for name, value in answer.items()}
    found = {name: value for name, value in numbers.items() if value is not None}
    if not found:
        said = json.dumps(answer, default=str, skipkeys=True, ensure_ascii=False)
        raise MetricError(f"the metric gives no number: {said[:_SHOWN]}", hint=_HINT)
    return found


def _number(value: Any) -> float | None:
    if hasattr(value, "item") and getattr(value, "size", 1) != 0:
        try:
            value = value.item()
        except (ValueError, RuntimeError):  # an array of several
            return None
    return float(value) if is_number(value) else None
