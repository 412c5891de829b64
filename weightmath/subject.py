"""What a recipe is about: the tensors of its layout that are computed, and how many of their rows.

`only` and `except` leave tensors out, which then need not be the same in all inputs. `fit` takes the leading rows that
all inputs have, for vocabularies that grew; the rest of the rows are the template's, as are tensors that are left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from weightmath.errors import LayoutError, RecipeError, nearest
from weightmath.layout import Layout, Patterns


@dataclass(frozen=True)
class Subject:
    """The layout that is computed.

    layout   its entries, cut to the rows that are merged
    copied   tensors of the template that are left out, and why
    rows     tensors of which the leading rows are merged, and how many
    partial  those of which some input has more rows than that
    only, without   the patterns of the recipe's `only` and `except`
    """

    layout: Layout
    copied: Mapping[str, str]
    rows: Mapping[str, int]
    partial: tuple[str, ...]
    only: Patterns
    without: Patterns

    def admits(self, name: str) -> bool:
        """Whether `only` and `except` let a tensor of this name in."""
        return _reason(name, self.only, self.without) is None

    def fitted(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of an input's tensor after `fit`."""
        rows = self.rows.get(name)
        return shape if rows is None or not shape else (min(rows, shape[0]), *shape[1:])


def subject_of(
    template: Layout, inputs: Sequence[Layout], only: Sequence[str], without: Sequence[str], fit: Collection[str]
) -> Subject:
    """The subject of a recipe with these patterns, whose inputs have these layouts.

    LayoutError where tensors cannot be fitted.
    """
    patterns = Patterns(only), Patterns(without)
    reasons = {name: _reason(name, *patterns) for name in template.names}
    copied = {name: reason for name, reason in reasons.items() if reason}
    fitting = Patterns(list(fit))
    names = [name for name in template.names if name not in copied and fitting.matches(name)]
    shapes = {name: [layout[name].shape for layout in (template, *inputs) if name in layout] for name in names}
    rows = {name: _common_rows(name, shapes[name]) for name in names}
    partial = tuple(name for name in names if any(shape[0] != rows[name] for shape in shapes[name]))
    entries = [entry for entry in template if entry.name not in copied]
    cut = [replace(e, shape=(rows[e.name], *e.shape[1:])) if e.name in rows else e for e in entries]
    return Subject(Layout.of(cut), copied, rows, partial, *patterns)


def check_patterns(patterns: Iterable[str], names: Collection[str]) -> None:
    """RecipeError for a pattern that matches none of the names."""
    for pattern in patterns:
        if not any(map(Patterns([pattern]).matches, names)):
            raise RecipeError(f"the pattern `{pattern}` matches no tensor", hint=nearest(pattern.strip("*"), names))


def _reason(name: str, only: Patterns, without: Patterns) -> str | None:
    """Why a tensor is left out, or None."""
    if only.patterns and not only.matches(name):
        return "not in `only:`"
    return "in `except:`" if without.matches(name) else None


def _common_rows(name: str, shapes: Sequence[tuple[int, ...]]) -> int:
    first = shapes[0]
    for shape in shapes:
        if not shape or shape[1:] != first[1:]:
            raise LayoutError(
                f"`fit` takes rows, and `{name}` differs in more: {list(first)} and {list(shape)}",
                hint="leave it out with `except:`",
            )
    return min(shape[0] for shape in shapes)
