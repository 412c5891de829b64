"""Text for people: headings, tables and lists. On a terminal they fit its width; elsewhere no line is cut."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from weightmath.cli.columns import laid_out, parted, wrapped
from weightmath.cli.printable import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

# Wide enough that nothing wraps where a program reads: grep sees whole lines.
_UNWRAPPED = 100_000
# What makes rich write elsewhere as it would to a terminal.
_AS_ON_TERMINALS = ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE")


class Page:
    """Prints to stdout. Nothing in a text is markup, or a command to the terminal: names may hold anything."""

    def __init__(self) -> None:
        self._is_plain = not sys.stdout.isatty() and not any(name in os.environ for name in _AS_ON_TERMINALS)
        self._is_empty = True

    @cached_property
    def _console(self) -> Console:
        # Imported where there is something to style or to wrap: that takes 12 ms.
        from rich.console import Console

        width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _UNWRAPPED
        return Console(width=width, markup=False, highlight=False, emoji=False)

    @property
    def _width(self) -> int:
        return _UNWRAPPED if self._is_plain else self._console.width

    def _print(self, text: str = "", style: str = "", *, wrap: bool = False, bold_yellow: int = 0) -> None:
        """A text, wrapped or as it is; `bold_yellow` are so many letters at its beginning."""
        self._is_empty = False
        if self._is_plain:
            print(text.expandtabs())
            return
        from rich.text import Text

        styled = Text(text, style=style)
        styled.stylize("bold yellow", 0, bold_yellow)
        self._console.print(styled, soft_wrap=not wrap)

    def line(self, text: str = "", style: str = "") -> None:
        """One line, or a paragraph that wraps at the terminal's width."""
        self._print(printable(text), style, wrap=True)

    def paragraph(self, text: str, *, hanging: int, style: str = "") -> None:
        """A line whose continuation, where it does not fit, is indented by `hanging` columns."""
        self._print("\n".join(wrapped(printable(text), self._width, hanging)), style)

    def heading(self, text: str) -> None:
        """A line that begins a part, after an empty one unless it is the first."""
        if not self._is_empty:
            self._print()
        self._print(printable(text), "bold", wrap=True)

    def listed(self, rows: Iterable[str], style: str = "") -> None:
        """Indented lines; long ones wrap within their indent."""
        for row in rows:
            for line in laid_out([[printable(row)]], self._width):
                self._print(line, style)

    def rest(self, left_out: int, things: str = "", where: str = ": --all prints them") -> None:
        """The last line of a list that was cut short: how much is left out, and where it is; nothing of a whole one."""
        if left_out > 0:
            more = f"more {things}".rstrip()
            self.listed([f"... and {left_out:,} {more}{where}"], style="dim")

    def table(self, rows: Sequence[Sequence[str]], *, head: Sequence[str] = (), right: Collection[int] = ()) -> None:
        """An indented table without lines; `right` are the columns aligned to the right."""
        shown = [[printable(cell) for cell in row] for row in ([head, *rows] if head else rows)]
        for number, line in enumerate(laid_out(shown, self._width, right)):
            self._print(line, "dim" if head and number == 0 else "")

    def wide_table(
        self, rows: Sequence[Sequence[str]], *, head: Sequence[str], right: Collection[int] = (), lead: int = 1
    ) -> None:
        """A table of any number of columns: those that do not fit go below, beside the leading ones again."""
        whole = [[printable(cell) for cell in row] for row in (head, *rows)]
        for number, columns in enumerate(parted(whole, self._width, lead)):
            if number:
                self._print()
            inner, *lines = [[row[column] for column in columns] for row in whole]
            self.table(lines, head=inner, right=[place for place, column in enumerate(columns) if column in right])

    def show(self, renderable: RenderableType) -> None:
        """Anything that rich prints."""
        self._console.print(renderable)

    def warnings(self, warnings: Sequence[str]) -> None:
        """Warnings, one paragraph each."""
        if warnings:
            self._print()
        for warning in warnings:
            lines = wrapped(printable(f"warning: {warning}"), self._width, 2)
            self._print("\n".join(lines), bold_yellow=len("warning:"))


def shortened(items: Sequence[str], most: int) -> list[str]:
    """At most so many items, and a last one that counts those left out."""
    if len(items) <= most:
        return list(items)
    return [*items[:most], f"... and {len(items) - most:,} more"]
