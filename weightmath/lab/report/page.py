"""One HTML file with everything in it: style, script, plotly and the numbers. It opens without any network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

from weightmath import __version__
from weightmath.installed import check_installed
from weightmath.lab.report import markup
from weightmath.lab.report.sections import Section
from weightmath.lab.report.theme import DARK, FONT, LIGHT, THEMES, template, variables

# Nothing is ever loaded, whatever a name in the results says.
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


def page_of(sections: Sequence[Section], title: str) -> str:
    """The page's text. Fails with WeightmathError where plotly is not installed."""
    own = files("weightmath.lab.report")
    style, script = (own.joinpath(f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    parts, charts = [], 0
    for number, section in enumerate(sections):
        parts.append(markup.section(section, number, charts))
        charts += len(section.charts)
    return "".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n',
            f"<title>{escape(title)}</title>\n<style>\n{_colours()}\n{style}</style>\n</head>\n<body>\n",
            f"<header><h1>{escape(title)}</h1>{markup.navigation(sections)}",
            '<button type="button" id="theme" aria-label="Light or dark">◐</button></header>\n',
            f"<main>\n{''.join(parts)}</main>\n<footer>weightmath {__version__}</footer>\n",
            f'<script type="application/json" id="data">{_embedded(_data(sections))}</script>\n',
            f"<script>{_plotly()}</script>\n<script>\n{script}</script>\n</body>\n</html>\n",
        )
    )


def _colours() -> str:
    dark = variables(DARK)
    return (
        f":root {{ --font: {FONT}; color-scheme: light dark; {variables(LIGHT)} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
        f":root[data-theme=light] {{ color-scheme: light; {variables(LIGHT)} }}\n"
        f":root[data-theme=dark] {{ color-scheme: dark; {dark} }}"
    )


def _data(sections: Sequence[Section]) -> dict[str, Any]:
    """What the script draws: charts, both templates, and for each section its recipe and points."""
    return {
        "templates": {name: template(theme) for name, theme in THEMES.items()},
        "charts": [{"data": one.data, "layout": one.layout} for section in sections for one in section.charts],
        "sections": [
            {
                "recipe": [[line.text, line.param] for line in section.recipe],
                "points": section.points,
                "first": min(section.sheets[0].best, default=next(iter(section.points), None)),
            }
            for section in sections
        ],
    }


def _embedded(data: object) -> str:
    """JSON that no `</script>` in a name can end."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _plotly() -> str:
    check_installed("the page", "plotly")
    return files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")
