"""What a recipe is about: the tensors of its layout that are computed, and how many of their rows.

Tensors that `only` and `except` leave out, or that all outputs drop, are in no scope and may differ between inputs.
`fit` takes the leading rows that all inputs have, for vocabularies that grew; the others are the template's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from weightmath.algebra.names import no_match
from weightmath.errors import LayoutError
from weightmath.layout import Entry, Layout, Patterns


@dataclass(frozen=True)
class Selection:
    """Which names a recipe is about: patterns of `only` (none: all) and `except`, and names that all outputs drop."""

    only: Patterns
    without: Patterns
    dropped: Collection[str]

    @property
    def takes_all(self) -> bool:
        """Whether it leaves nothing out."""
        return not (self.only.patterns or self.without.patterns or self.dropped)

    def reasons(self, names: Iterable[str]) -> dict[str, str]:
        """Those of these names that are left out, and why."""
        return {name: reason for name in names if (reason := self.reason(name))}

    def reason(self, name: str) -> str | None:
        """Why a tensor of this name is left out, or None."""
        if name in self.dropped:
            return "in `drop:`"
        if self.only.patterns and not self.only.matches(name):
            return "not in `only:`"
        return "in `except:`" if self.without.matches(name) else None


EVERYTHING = Selection(Patterns(()), Patterns(()), ())


@dataclass(frozen=True)
class Subject:
    """The layout that is computed.

    layout   its entries, cut to the rows that are merged
    copied   tensors that stay the template's because of patterns, and why
    rows     tensors of which the leading rows are merged, and how many
    partial  those of which some input has more rows than that
    selection  which names are in
    """

    layout: Layout
    copied: Mapping[str, str]
    rows: Mapping[str, int]
    partial: tuple[str, ...]
    selection: Selection

    def fitted(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of an input's tensor after `fit`."""
        rows = self.rows.get(name)
        return shape if rows is None or not shape else (min(rows, shape[0]), *shape[1:])


def subject_of(template: Layout, inputs: Sequence[Layout], selection: Selection, fit: Collection[str]) -> Subject:
    """The subject of a recipe whose inputs have these layouts; `fit` are patterns.

    LayoutError where tensors cannot be fitted.
    """
    reasons = {} if selection.takes_all else selection.reasons(template.names)
    copied = {name: reason for name, reason in reasons.items() if name not in selection.dropped}
    fitting = Patterns(list(fit))
    names = [name for name in template.names if name not in reasons and fitting.matches(name)] if fit else []
    shapes = {name: [layout[name].shape for layout in (template, *inputs) if name in layout] for name in names}
    rows = {name: _common_rows(name, shapes[name]) for name in names}
    partial = tuple(name for name in names if any(shape[0] != rows[name] for shape in shapes[name]))
    entries: Sequence[Entry] = template.entries
    if reasons:
        entries = [entry for entry in entries if entry.name not in reasons]
    if rows:
        entries = [e._replace(shape=(rows[e.name], *e.shape[1:])) if e.name in rows else e for e in entries]
    return Subject(Layout.of(entries, outside=reasons), copied, rows, partial, selection)


def check_patterns(patterns: Iterable[str], names: Collection[str]) -> None:
    """RecipeError for a pattern that matches none of the names."""
    for pattern in patterns:
        if not any(map(Patterns([pattern]).matches, names)):
            raise no_match(pattern, names)


def _common_rows(name: str, shapes: Sequence[tuple[int, ...]]) -> int:
    first = shapes[0]
    for shape in shapes:
        if not shape or shape[1:] != first[1:]:
            raise LayoutError(
                f"`fit` takes rows, and `{name}` differs in more: {list(first)} and {list(shape)}",
                hint="leave it out with `except:`",
            )
    return min(shape[0] for shape in shapes)
