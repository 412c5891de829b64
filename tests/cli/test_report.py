"""`weightmath report`: one page of results, and what it says of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from pydantic import TypeAdapter

from tests.cli.conftest import Ran
from tests.lab.report import results
from tests.lab.report.test_sections import save
from weightmath.reports.page import PageReport

Cli = Callable[..., Ran]


def test_a_page(cli: Cli, folder: Path) -> None:
    save(results.sweep(), folder / "sweep")
    save(results.plane(), folder / "plane")
    ran = cli("report", "sweep.jsonl", "plane", "-o", "r.html", "--title", "Two results")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "r.html",
        "",
        "sweep",
        "  Sweep, 11 points",
        "  old · new along alpha",
        "  loss along alpha",
        "",
        "plane",
        "  Plane through three models, 145 points",
        "  loss over x and y",
        "  accuracy over x and y",
    ]
    text = (folder / "r.html").read_text()
    assert "<title>Two results</title>" in text
    assert '<h2>sweep</h2><p class="kind">Sweep</p>' in text


def test_the_record(cli: Cli, folder: Path) -> None:
    save(results.noise(), folder / "noise")
    ran = cli("report", "noise.jsonl", "-o", "r.html", "--json")
    record = TypeAdapter(PageReport).validate_json(ran.out)
    assert (record.page, record.pictures) == ("r.html", ())
    assert [(one.title, one.charts, one.points) for one in record.sections] == [
        ("noise", ("accuracy under noise",), 12)
    ]


def test_what_is_refused(cli: Cli, folder: Path) -> None:
    save(results.noise(), folder / "noise")
    assert cli("report").code == 2
    ran = cli("report", "noise.jsonl")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: nowhere to write to\n  hint: name a page (-o report.html)")
    ran = cli("report", "none.jsonl", "-o", "r.html", "--json")
    assert (ran.code, json.loads(ran.out)["error"]["where"]) == (2, "none.jsonl")
    (folder / "r.html").write_text("mine")
    ran = cli("report", "noise.jsonl", "-o", "r.html")
    assert (ran.code, ran.err) == (2, "error: r.html: exists\n  hint: --force replaces it; another name keeps it\n")
    assert cli("report", "noise.jsonl", "-o", "nowhere/r.html").code == 2
    assert cli("report", "noise.jsonl", "-o", "r.html", "--force").code == 0
