"""Where no terminal is, pages are what rich would have written there."""

from __future__ import annotations

import pytest

from weightmath.cli.page import Page

TEXTS = ["", "a", "two words ", "  indented", "tab\tand\ttab", "層 [bold]x[/] :smile: 1.5", "\x1b[1m", "x" * 200]


def _written(capsys: pytest.CaptureFixture[str]) -> str:
    page = Page()
    for text in TEXTS:
        page.line(text, style="bold")
        page.heading(text)
        page.paragraph(text, hanging=4)
        page.listed([text, text], style="dim")
    page.table([TEXTS, TEXTS[:3]], head=["name"] * len(TEXTS), right=(1, 3))
    page.warnings(TEXTS)
    return capsys.readouterr().out


def test_plain_pages(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    plain = _written(capsys)
    monkeypatch.setenv("COLUMNS", "100000")
    assert plain == _written(capsys)
    assert plain.count("\n") > 5 * len(TEXTS)
