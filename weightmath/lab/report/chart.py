"""A chart: a plotly figure as plain data, with the words that belong to it. Colours of ground and text are the theme's.

Names in results come from files that anyone may have made, and plotly takes text for a kind of HTML: all that is shown
goes through `label`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from weightmath.lab.report.theme import LIGHT, template

Trace = dict[str, Any]
Numbers = Sequence[float | None]

# Of middle lightness, so that each stands out on light and dark ground; apart for the colour-blind as well.
COLOURS = ("#3a7bc8", "#d9822b", "#2a9d76", "#c2507a", "#8467c8", "#8a8f98", "#b59a1e", "#3ba3b8")
GREY = COLOURS[5]
SEQUENTIAL = "Viridis"
DIVERGING = "RdBu"
_LOG_FROM, _MANY_DECADES_FROM = 50.0, 1e3
_MARKS_UP_TO = 60


@dataclass(frozen=True)
class Chart:
    """One picture.

    name    what its file is called, without an ending
    title   what is seen, in a few words
    note    how to read it, in a sentence or two; "" where it needs none
    data    traces of plotly
    layout  plotly's layout
    square  whether it is as high as wide, two of them side by side
    """

    name: str
    title: str
    note: str
    data: tuple[Trace, ...]
    layout: Mapping[str, Any] = field(default_factory=dict)
    square: bool = False

    def as_plotly(self) -> dict[str, Any]:
        """The figure with the light theme, as `plotly.graph_objects.Figure` takes it."""
        return {"data": list(self.data), "layout": {**self.layout, "template": template(LIGHT)}}


# --- traces


def line(x: Sequence[Any], y: Numbers, own: str, *, name: str = "", points: Sequence[int] = (), **more: Any) -> Trace:
    """A line in its own colour, with a mark at each point unless there are many; `points` are what a click chooses."""
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(x) <= _MARKS_UP_TO else "lines",
        "name": label(name),
        "x": gaps(x),
        "y": gaps(y),
        "customdata": list(points),
        "line": {"color": own, "width": 2},
        "marker": {"color": own, "size": 7},
        **more,
    }


def dots(x: Sequence[Any], y: Numbers, *, name: str = "", points: Sequence[int] = (), **more: Any) -> Trace:
    """Single points, each faint, so that many in one place are seen as many."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": label(name),
        "x": gaps(x),
        "y": gaps(y),
        "customdata": list(points),
        "marker": {"color": faint(COLOURS[0], 0.55), "size": 7},
        **more,
    }


# --- axes


def axis(title: str, values: Numbers = (), **more: Any) -> dict[str, Any]:
    """An axis with its title; logarithmic where all values are above 0 and spread over a factor of fifty."""
    found: dict[str, Any] = {"title": {"text": label(title)}, **more}
    known = [value for value in gaps(values) if value is not None]
    if known and min(known) > 0 and max(known) >= _LOG_FROM * min(known):
        many = max(known) > _MANY_DECADES_FROM * min(known)
        found |= {"type": "log", "dtick": 1 if many else "D2"}  # D2: ticks at 1, 2 and 5 of each decade
    return found


def names_axis(title: str = "", **more: Any) -> dict[str, Any]:
    """An axis of names, which are never taken for numbers or dates."""
    return {"type": "category", "title": {"text": label(title)}, **more}


# --- words and colours


def label(text: object) -> str:
    """A text that plotly shows letter by letter."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def value_text(value: object) -> str:
    """A parameter's value, numbers with four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def slug(*parts: str) -> str:
    """A name for a file, of letters, digits and dashes."""
    text = "-".join(parts).lower()
    return "-".join("".join(c if c.isascii() and c.isalnum() else " " for c in text).split()) or "chart"


def gaps(values: Iterable[Any]) -> list[Any]:
    """The values, with nothing where one is NaN or infinite, which JSON does not know."""
    return [None if isinstance(value, float) and not math.isfinite(value) else value for value in values]


def colour(number: int) -> str:
    """The colour of the n-th of several things."""
    return COLOURS[number % len(COLOURS)]


def faint(hexadecimal: str, share: float = 0.18) -> str:
    """The colour, let through to what is behind it."""
    red, green, blue = (int(hexadecimal[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{share})"
