"""Numbers and masks that a tensor's name or shape decides: what such a rule is, and the plainest of them.

Each rule is a frozen value with `values(layout)`, one float64 per entry. They are known without reading a tensor, so
the plan can fold them, skip inputs whose factor is 0, and print what they mean: `describe(layout)`. Rules that know
layers are in layers.py, those that know the blocks of diffusion models in blocks.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from weightmath.algebra.show import quoted, shown_number
from weightmath.errors import RecipeError, nearest
from weightmath.layout import Layout, Patterns

Numbers = NDArray[np.float64]
TRUTH: tuple[float, ...] = (0.0, 1.0)


@dataclass(frozen=True)
class Part:
    """Tensors that one line of a rule decides: what the rule calls them, and the least and greatest number they get."""

    label: str
    tensors: tuple[str, ...]
    low: float
    high: float

    @property
    def number(self) -> float | None:
        """The number that all of them get; None where they differ."""
        return self.low if self.low == self.high else None


@dataclass(frozen=True)
class Description:
    """What a rule means for one layout.

    `rule` is its source text, `note` says in a sentence how it was read (whether an end is included, which number
    counted as the layer), `parts` split the tensors of the layout, in the rule's own order; `name` is short for the
    rule where its parts have names of their own.
    """

    rule: str
    note: str
    parts: tuple[Part, ...]
    name: str = ""


class ByName(Protocol):
    """A rule from names to numbers."""

    @property
    def is_mask(self) -> bool:
        """Whether the numbers are truth values."""

    @property
    def numbers(self) -> tuple[float, ...]:
        """The numbers that were written: no value lies beyond them."""

    def values(self, layout: Layout) -> Numbers:
        """One number per entry, in flat order."""

    def describe(self, layout: Layout) -> Description:
        """What it means for this layout, to be printed."""


def parts(layout: Layout, values: Numbers, labels: Sequence[str], order: Iterable[str] = ()) -> tuple[Part, ...]:
    """The entries grouped by their labels: those of `order` first, then as they come up."""
    members: dict[str, list[int]] = {label: [] for label in order}
    for i, label in enumerate(labels):
        members.setdefault(label, []).append(i)
    return tuple(
        Part(label, tuple(layout.names[i] for i in own), float(values[own].min()), float(values[own].max()))
        for label, own in members.items()
        if own
    )


def no_match(pattern: str, names: Iterable[str]) -> RecipeError:
    """The error for a pattern that matches no tensor: most often one that is misspelt, or lacks its stars."""
    known = list(names)
    core = pattern.strip("*")
    hint = nearest(core, known)
    if hint is None and any(core in name for name in known):
        hint = f'a pattern matches the whole name: "*{core}*"'
    elif hint is None and core.isidentifier():
        words = [word for name in known for part in name.split(".") for word in (part, *part.split("_"))]
        close = nearest(core, dict.fromkeys(words))
        hint = close and close.replace("`", "`*", 1).replace("`?", "*`?")
    return RecipeError(f"the pattern `{pattern}` matches no tensor", hint=hint)


@dataclass(frozen=True)
class Table:
    """A number per tensor from name patterns; the first pattern that matches decides, `otherwise` the rest."""

    patterns: tuple[tuple[str, float | ByName], ...]
    otherwise: float | None = None
    is_mask = False

    @property
    def numbers(self) -> tuple[float, ...]:
        """The numbers of all patterns, those of a rule among them too."""
        rest = () if self.otherwise is None else (self.otherwise,)
        values = [value for _, value in self.patterns]
        own = [(value,) if isinstance(value, int | float) else value.numbers for value in values]
        return sum(own, rest)

    def values(self, layout: Layout) -> Numbers:
        """RecipeError for a pattern that matches nothing, or a tensor that nothing matches."""
        first = self._first(layout)
        columns = [_column(value, layout) for _, value in self.patterns]
        result = np.empty(len(layout))
        for i, number in enumerate(first):
            if number is None and self.otherwise is None:
                raise RecipeError(
                    f"no pattern of the table matches the tensor `{layout.names[i]}`",
                    hint='add a last line for the rest: "*": 1',
                )
            result[i] = self.otherwise if number is None else columns[number][i]
        return result

    def _first(self, layout: Layout) -> list[int | None]:
        """For each entry the number of the first pattern that matches it."""
        compiled = Patterns([pattern for pattern, _ in self.patterns])
        first = [compiled.first(name) for name in layout.names]
        for i, (pattern, _) in enumerate(self.patterns):
            if i not in first and not layout.is_matched(pattern):
                raise no_match(pattern, layout.names)
        return first

    def describe(self, layout: Layout) -> Description:
        """One part per pattern, in order; a rule among the numbers adds its own parts and note."""
        first = self._first(layout)
        labels = ["other tensors"] * len(layout)
        order: list[str] = []
        notes = ["the first pattern that matches decides"]
        for number, (pattern, value) in enumerate(self.patterns):
            inner = None if isinstance(value, int | float) else value.describe(layout)
            own = {name: f"{pattern} {part.label}" for part in inner.parts for name in part.tensors} if inner else {}
            notes += [inner.note] if inner else []
            order += dict.fromkeys(own.values()) if inner else [pattern]
            for i, name in enumerate(layout.names):
                if first[i] == number:
                    labels[i] = own.get(name, pattern)
        note = "; ".join(dict.fromkeys(notes))
        return Description(str(self), note, parts(layout, self.values(layout), labels, order), "table")

    def __str__(self) -> str:
        return "{" + ", ".join(f"'{pattern}': {_shown(value)}" for pattern, value in self.patterns) + "}"


def _shown(value: float | ByName) -> str:
    return shown_number(value) if isinstance(value, int | float) else str(value)


def _column(value: float | ByName, layout: Layout) -> Numbers:
    if isinstance(value, int | float):
        return np.full(len(layout), float(value))
    return value.values(layout)


@dataclass(frozen=True)
class Match:
    """True for tensors whose name matches any of the patterns."""

    patterns: tuple[str, ...]
    is_mask = True
    numbers = TRUTH

    def values(self, layout: Layout) -> Numbers:
        """RecipeError for a pattern that matches nothing."""
        for pattern in self.patterns:
            if not layout.is_matched(pattern):
                raise no_match(pattern, layout.names)
        compiled = Patterns(self.patterns)
        return np.array([float(compiled.matches(name)) for name in layout.names])

    def describe(self, layout: Layout) -> Description:
        """Tensors that match, and the others."""
        return mask_description(self, layout, "a pattern matches the whole name", "matches", "does not match")

    def __str__(self) -> str:
        return f"match({', '.join(map(quoted, self.patterns))})"


@dataclass(frozen=True)
class Matrices:
    """True for tensors with two dimensions or more."""

    is_mask = True
    numbers = TRUTH

    def values(self, layout: Layout) -> Numbers:
        """One truth value per entry."""
        return np.array([float(len(entry.shape) >= 2) for entry in layout])

    def describe(self, layout: Layout) -> Description:
        """Tensors of two dimensions or more, and the others."""
        note = "two dimensions or more: kernels of convolutions and embeddings count"
        return mask_description(self, layout, note, "two dimensions or more", "fewer dimensions")

    def __str__(self) -> str:
        return "matrices()"


def mask_description(rule: ByName, layout: Layout, note: str, inside: str, outside: str) -> Description:
    """The description of a mask: what lies inside, what outside."""
    values = rule.values(layout)
    labels = [inside if value else outside for value in values]
    return Description(str(rule), note, parts(layout, values, labels, (inside, outside)))
