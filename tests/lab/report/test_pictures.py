"""Pictures for papers, and figures for notebooks."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from kaleido.errors import JavascriptError
from plotly.graph_objects import Figure

import weightmath as wm
from tests.lab.report import results
from tests.lab.report.test_browser import executable
from tests.lab.report.test_sections import save
from weightmath.errors import OutputError
from weightmath.lab.report.pictures import write_pictures
from weightmath.lab.report.sections import charts_of
from weightmath.lab.report.write import report


def test_each_chart_is_a_picture(tmp_path: Path) -> None:
    executable()
    tables = [save(results.plane(), tmp_path / "plane"), save(results.line(), tmp_path / "line")]
    written = report(tables, svg=tmp_path / "svg", png=tmp_path / "new" / "png")
    names = ["plane-loss-over-x-y", "plane-accuracy-over-x-y", "line-loss-along-t"]
    assert written.page is None
    assert [path.relative_to(tmp_path).as_posix() for path in written.pictures] == [
        *(f"svg/{name}.svg" for name in names),
        *(f"new/png/{name}.png" for name in names),
    ]
    assert sorted(path.name for path in (tmp_path / "svg").iterdir()) == sorted(f"{name}.svg" for name in names)
    drawing = ET.parse(tmp_path / "svg" / "line-loss-along-t.svg").getroot()
    assert (drawing.get("width"), drawing.get("height")) == ("800", "450")
    texts = {element.text for element in drawing.iter("{http://www.w3.org/2000/svg}text")}
    assert {"t, from a.ckpt to b.ckpt", "loss", "a", "b"} <= texts
    header = (tmp_path / "new" / "png" / "plane-loss-over-x-y.png").read_bytes()[:24]
    assert struct.unpack(">II", header[16:]) == (3 * 560, 3 * 500)


def test_without_a_browser_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "none"))
    charts = {"a": charts_of(results.line())[0]}
    with pytest.raises(OutputError, match=r"drawn by a Chrome or Chromium, and there is none\n  hint: apt-get install"):
        write_pictures(charts, {"svg": tmp_path / "svg", "png": tmp_path / "new" / "png"})
    assert list(tmp_path.iterdir()) == []


def test_a_browser_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **options: object) -> None:
        assert options == {"kopts": {"mathjax": False}, "cancel_on_error": True}
        raise JavascriptError("oh")

    monkeypatch.setattr("kaleido.write_fig_from_object_sync", fail)
    (tmp_path / "svg").mkdir()
    with pytest.raises(OutputError, match="the browser that draws pictures failed: oh"):
        report([save(results.line(), tmp_path / "line")], tmp_path / "r.html", svg=tmp_path / "svg")
    assert list((tmp_path / "svg").iterdir()) == []
    assert not (tmp_path / "r.html").exists()


def test_charts_of_one_name_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(orders: list[dict[str, Any]], **options: object) -> None:
        for order in orders:
            order["path"].write_text("")

    monkeypatch.setattr("kaleido.write_fig_from_object_sync", write)
    (tmp_path / "other").mkdir()
    tables = [save(results.line(), folder / "line") for folder in (tmp_path, tmp_path / "other")]
    written = report(tables, svg=tmp_path)
    assert [path.name for path in written.pictures] == ["line-loss-along-t-1.svg", "line-loss-along-t-2.svg"]
    assert all(path.exists() for path in written.pictures)


def test_figures_for_notebooks() -> None:
    found = wm.figures(results.sweep())
    assert list(found) == ["old · new along alpha", "loss along alpha"]
    assert all(isinstance(figure, Figure) for figure in found.values())
    assert list(found["loss along alpha"].data[0].y) == results.sweep().column("loss")
