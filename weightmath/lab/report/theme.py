"""Light and dark: one table of colours, for the page's style sheet and for the charts on it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'


@dataclass(frozen=True)
class Theme:
    """Colours by what they are for; the style sheet knows them as `--ground`, `--panel` and so on."""

    ground: str
    panel: str
    text: str
    muted: str
    rule: str
    grid: str
    accent: str
    marked: str


LIGHT = Theme("#f7f7f5", "#ffffff", "#1d1f22", "#63676e", "#e2e2de", "#ececea", "#2f6db5", "#eef4fb")
DARK = Theme("#121315", "#1a1c1f", "#e4e6e9", "#9aa0a8", "#2d3035", "#282b30", "#7fb2ee", "#1f2a37")
THEMES = {"light": LIGHT, "dark": DARK}


def variables(theme: Theme) -> str:
    """The colours as CSS custom properties."""
    return " ".join(f"--{field.name}: {getattr(theme, field.name)};" for field in fields(theme))


def template(theme: Theme) -> dict[str, Any]:
    """The colours, and what all charts have in common, as a plotly template."""
    title = {"size": 13, "color": theme.muted}
    axis = {
        "gridcolor": theme.grid,
        "linecolor": theme.rule,
        "tickcolor": theme.rule,
        "zeroline": False,
        "ticks": "outside",
        "ticklen": 4,
        "automargin": True,
        "title": {"standoff": 10, "font": title},
    }
    bar = {"outlinewidth": 0, "thickness": 12, "ticklen": 4, "ticks": "outside", "tickcolor": theme.rule}
    bar |= {"title": {"font": title}}
    layout = {
        "font": {"family": FONT, "size": 13, "color": theme.text},
        "paper_bgcolor": theme.panel,
        "plot_bgcolor": theme.panel,
        "margin": {"l": 56, "r": 20, "t": 32, "b": 48},
        "hoverlabel": {"bgcolor": theme.panel, "bordercolor": theme.rule, "font": {"color": theme.text}},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "itemwidth": 30},
        "xaxis": axis,
        "yaxis": axis,
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": theme.muted, "activecolor": theme.text},
    }
    data = {kind: [{"type": kind, "colorbar": bar}] for kind in ("heatmap", "contour")}
    return {"layout": layout, "data": data}
