"""The page in a real browser: it draws, sorts, shows recipes, changes colours, asks no network and runs no names.

A browser that is missing fails these tests, unless WEIGHTMATH_NO_BROWSER=1 declares that there is none.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.lab.report import results
from tests.lab.report.results import TABLES, table
from tests.lab.report.test_sections import save
from tests.packages import folds
from weightmath.lab.compare import compare
from weightmath.lab.report.write import report
from weightmath.plain import as_json
from weightmath.reports.comparison import compare_report

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
PATIENCE = 120_000  # ms: a busy machine is no failure


def executable() -> str:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None and os.environ.get("WEIGHTMATH_NO_BROWSER") == "1":
        pytest.skip("there is no browser, and WEIGHTMATH_NO_BROWSER is declared")
    assert found is not None, f"none of {', '.join(names)} is installed: apt-get install chromium"
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = executable()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS, timeout=PATIENCE)
        yield browser
        browser.close()


@dataclass
class Heard:
    """What a page said, and what it asked for that is no local file."""

    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


Open = Callable[..., tuple[Page, Heard]]


@pytest.fixture
def opened(browser: Browser) -> Iterator[Open]:
    """Open a file in a page of its own, which is closed after the test."""
    pages: list[Page] = []

    def call(path: Path, scheme: Literal["light", "dark"] = "light") -> tuple[Page, Heard]:
        page, heard = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme), Heard()
        pages.append(page)
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: heard.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: heard.said.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (heard.said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: heard.asked.append(request.url))
        page.goto(path.as_uri())
        return page, heard

    yield call
    for page in pages:
        page.close()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of one sweep."""
    folder = tmp_path_factory.mktemp("small")
    report([save(results.sweep(), folder / "sweep")], folder / "report.html")
    return folder / "report.html"


@pytest.fixture
def page(opened: Open, small: Path) -> Page:
    return opened(small)[0]


def test_it_draws_everything_and_asks_nothing(opened: Open, tmp_path: Path) -> None:
    files = [save(make(), tmp_path / kind) for kind, make in TABLES.items()]
    (tmp_path / "folds.json").write_text(as_json(compare_report(compare(folds(), spectrum=True))))
    report([*files, tmp_path / "folds.json"], tmp_path / "report.html")
    page, heard = opened(tmp_path / "report.html")
    charts = page.locator(".chart")
    assert charts.count() == 27
    for number in range(charts.count()):
        drawing = charts.nth(number).locator("svg.main-svg").first
        box = drawing.bounding_box()
        assert box is not None, number
        assert box["width"] > 300, number
        assert box["height"] > 200, number
    assert page.locator(".trace.scatter").count() > 20
    assert page.locator(".contourlayer path").count() > 10
    assert page.locator(".heatmaplayer image").count() == 3
    assert page.locator(".js-plotly-plot .annotation-text").all_text_contents().count("c-1") == 2
    assert heard.said == []
    assert [url for url in heard.asked if not url.startswith(("file:", "blob:", "data:"))] == []
    for width in (1280, 360):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_policy_stops_what_would_load(opened: Open, small: Path, tmp_path: Path) -> None:
    leak = '<img src="http://localhost:9/x.png"></main>'
    (tmp_path / "leak.html").write_text(small.read_text().replace("</main>", leak))
    _, heard = opened(tmp_path / "leak.html")
    assert len(heard.said) == 1
    assert "Content Security Policy" in heard.said[0]


def test_a_column_sorts_on_click(opened: Open, tmp_path: Path) -> None:
    report([save(results.search(), tmp_path / "search")], tmp_path / "report.html")
    section = opened(tmp_path / "report.html")[0].locator("section")
    head = section.locator("th", has_text="chat")

    def column() -> list[str]:
        return section.locator("tbody tr td:nth-child(5)").all_inner_texts()

    numbers = [value for value in results.search().column("chat") if value == value]
    assert column()[7] == "–"
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert column() == [*(f"{value:.4f}" for value in sorted(numbers)), "–"]
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert column() == [*(f"{value:.4f}" for value in sorted(numbers, reverse=True)), "–"]
    section.locator("th", has_text="method").locator("button").click()
    assert section.locator("tbody tr td:nth-child(4)").all_inner_texts() == sorted(results.search().column("method"))
    assert head.get_attribute("aria-sort") is None


def test_each_point_has_its_recipe(page: Page) -> None:
    section = page.locator("section")
    assert section.locator(".which").inner_text() == "0"  # the best
    section.locator("tbody tr[data-point='3'] button").click()
    assert section.locator("tr.chosen").get_attribute("data-point") == "3"
    assert section.locator(".which").inner_text() == "3"
    assert section.locator("pre mark").all_inner_texts() == ["  alpha: 0.3"]
    assert "vary" not in section.locator("pre").inner_text()


def test_a_click_in_a_chart_chooses_a_point(page: Page) -> None:
    section = page.locator("section")
    section.locator(".chart").first.scroll_into_view_if_needed()
    mark = section.locator(".chart").first.locator(".trace").first.locator("path.point").nth(8)
    box = mark.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y)
    page.mouse.click(x, y)
    section.locator("tr.chosen[data-point='8']").wait_for()
    assert section.locator("pre mark").all_inner_texts() == ["  alpha: 0.8"]


def colours(page: Page) -> tuple[str, str]:
    """Of the page, and of the first chart."""
    body = page.evaluate("getComputedStyle(document.body).backgroundColor")
    chart = page.locator(".chart svg rect.bg, .chart svg .bglayer rect, .chart .main-svg").first
    return body, chart.evaluate("it => getComputedStyle(it.closest('svg')).backgroundColor")


def test_light_and_dark(opened: Open, small: Path) -> None:
    light, _ = opened(small, "light")
    dark, _ = opened(small, "dark")
    assert colours(light) == ("rgb(247, 247, 245)", "rgb(255, 255, 255)")
    assert colours(dark) == ("rgb(18, 19, 21)", "rgb(26, 28, 31)")
    light.locator("#theme").click()
    assert colours(light) == colours(dark)
    light.locator("#theme").click()
    assert colours(light) == ("rgb(247, 247, 245)", "rgb(255, 255, 255)")
    dark.emulate_media(color_scheme="light")
    assert colours(dark) == colours(light)


def test_names_run_nothing(opened: Open, tmp_path: Path) -> None:
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)><a href='http://localhost:9'>x</a>"
    points = [({hostile: i, "word": hostile}, {hostile + "m": float(i)}) for i in range(3)]
    models = [{"name": hostile, "path": hostile, "place": [0.0]}]
    made = table("sweep", points, {}, {"models": models, "axes": {hostile: hostile}})
    report([save(made, tmp_path / "odd")], tmp_path / "r.html", title=hostile)
    page, heard = opened(tmp_path / "r.html")
    page.locator("tbody button").first.click()
    assert page.title() == page.locator("h1").inner_text() == hostile
    assert heard.said == []
    assert page.locator("main img, main a[href^=http], .chart a[*|href^=http]").count() == 0
    assert page.locator("th").first.inner_text().startswith("point")
    assert hostile in page.locator("th").all_inner_texts()[1]
