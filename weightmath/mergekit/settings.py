"""Parameters of mergekit: a number, a gradient over the layers, or either of them by filters on tensor names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from weightmath.algebra.show import shown_number
from weightmath.errors import RecipeError, nearest
from weightmath.recipe.document import Document, Path

# What only tensors inside layers are called: no embedding, last norm or head.
_IN_LAYERS = re.compile(r"attn|attention|mlp|input_layernorm|layers\.")


@dataclass(frozen=True)
class Rule:
    """The numbers of tensors whose name contains `filter`; of all where it is None.

    Several points are a gradient: they run linearly from the first layer to the last, and tensors outside the layers
    get the first.
    """

    filter: str | None
    points: tuple[float, ...]

    @property
    def pattern(self) -> str:
        """The pattern of weightmath for the filter."""
        if self.filter is None:
            return "*"
        if re.search(r"[*?\[]", self.filter):
            return f"re:{re.escape(self.filter)}"
        return f"*{self.filter}*"

    @property
    def value(self) -> float | str:
        """The number, or the expression of a ramp."""
        if len(self.points) == 1:
            return self.points[0]
        first, last = self.points[0], self.points[-1]
        inside = self.filter is not None and _IN_LAYERS.search(self.filter)
        rest = "" if inside or first == last else f", otherwise={shown_number(first)}"
        return f"ramp({', '.join(map(shown_number, self.points))}{rest})"


# Of several rules the first that fits decides.
Setting = tuple[Rule, ...]


def constant(setting: Setting) -> float | None:
    """The number that a setting gives all tensors, or None."""
    return setting[0].points[0] if len(setting) == 1 and setting[0] == Rule(None, setting[0].points[:1]) else None


def plain(number: float) -> Setting:
    """The setting that gives all tensors a number."""
    return (Rule(None, (float(number),)),)


def first_of(settings: Iterable[Setting]) -> Setting:
    """One setting out of several, the earlier ones before the later ones; what nothing can reach is left out."""
    rules: dict[str | None, Rule] = {}
    for rule in (rule for setting in settings for rule in setting):
        if None in rules:
            break
        rules.setdefault(rule.filter, rule)
    return tuple(rules.values())


def setting_of(document: Document, path: Path, value: Any) -> Setting:
    """The setting that a value of the configuration means; RecipeError for what is none."""
    if isinstance(value, dict):
        return (_rule(document, path, value),)
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return tuple(_rule(document, (*path, i), item) for i, item in enumerate(value))
    return (Rule(None, _points(document, path, value)),)


def _rule(document: Document, path: Path, data: dict[str, Any]) -> Rule:
    for key in data:
        if key not in ("filter", "value"):
            hint = nearest(key, ("filter", "value")) or "a rule has `filter` and `value`"
            raise RecipeError(f"unknown key `{key}`", where=document.where((*path, key)), hint=hint)
    if "value" not in data:
        raise RecipeError("the rule has no `value`", where=document.where(path))
    chosen = data.get("filter")
    everything = chosen is None or str(chosen) in ("*", "")
    return Rule(None if everything else str(chosen), _points(document, (*path, "value"), data["value"]))


def _points(document: Document, path: Path, value: Any) -> tuple[float, ...]:
    items = value if isinstance(value, list) else [value]
    if not items:
        raise RecipeError("the gradient is empty", where=document.where(path))
    return tuple(_number(document, path, item) for item in items)


def _number(document: Document, path: Path, value: Any) -> float:
    """A number; YAML 1.1 reads 1e-3 as text, and truth values stand for 1 and 0."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise RecipeError(f"`{value}` is not a number", where=document.where(path))
    return number
