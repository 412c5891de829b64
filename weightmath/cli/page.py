"""Text for people: headings, tables and lists. On a terminal they fit its width; elsewhere no line is cut."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Sequence

from rich.console import Console, RenderableType
from rich.text import Text

from weightmath.cli.columns import laid_out, wrapped
from weightmath.cli.printable import printable

# Wide enough that nothing wraps where a program reads: grep sees whole lines.
_UNWRAPPED = 100_000


class Page:
    """Prints to stdout. Nothing in a text is markup, or a command to the terminal: names may hold anything."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _UNWRAPPED
        self._console = Console(width=width, markup=False, highlight=False, emoji=False)

    def line(self, text: str = "", style: str = "") -> None:
        """One line, or a paragraph that wraps at the terminal's width."""
        self._console.print(Text(printable(text), style=style))

    def paragraph(self, text: str, *, hanging: int, style: str = "") -> None:
        """A line whose continuation, where it does not fit, is indented by `hanging` columns."""
        lines = wrapped(printable(text), self._console.width, hanging)
        self._console.print(Text("\n".join(lines), style=style), soft_wrap=True)

    def heading(self, text: str) -> None:
        """A line that begins a part, after an empty one."""
        self._console.print()
        self._console.print(Text(printable(text), style="bold"))

    def listed(self, rows: Iterable[str], style: str = "") -> None:
        """Indented lines; long ones wrap within their indent."""
        for row in rows:
            for line in laid_out([[printable(row)]], self._console.width):
                self._console.print(Text(line, style=style), soft_wrap=True)

    def table(self, rows: Sequence[Sequence[str]], *, head: Sequence[str] = (), right: Collection[int] = ()) -> None:
        """An indented table without lines; `right` are the columns aligned to the right."""
        shown = [[printable(cell) for cell in row] for row in ([head, *rows] if head else rows)]
        lines = laid_out(shown, self._console.width, right)
        for number, line in enumerate(lines):
            self._console.print(Text(line, style="dim" if head and number == 0 else ""), soft_wrap=True)

    def show(self, renderable: RenderableType) -> None:
        """Anything that rich prints."""
        self._console.print(renderable)

    def warnings(self, warnings: Sequence[str]) -> None:
        """Warnings, one paragraph each."""
        if warnings:
            self._console.print()
        for warning in warnings:
            lines = wrapped(printable(f"warning: {warning}"), self._console.width, 2)
            text = Text("\n".join(lines))
            text.stylize("bold yellow", 0, len("warning:"))
            self._console.print(text, soft_wrap=True)


def shortened(items: Sequence[str], most: int, rest: str = "more") -> list[str]:
    """At most so many items, and a last one that counts those left out."""
    if len(items) <= most:
        return list(items)
    return [*items[:most], f"... and {len(items) - most:,} {rest}"]
