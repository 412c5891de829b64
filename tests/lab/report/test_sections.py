"""Facts, tables and the recipe behind each point; and files that hold no results."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.lab.report import results
from tests.lab.report.results import RECIPE, TABLES, table
from weightmath import recipe
from weightmath.errors import WeightmathError
from weightmath.lab.appender import Appender
from weightmath.lab.report.point_recipe import Line, lines_of
from weightmath.lab.report.sections import of_table, section_of
from weightmath.lab.report.sheet import Sheet
from weightmath.lab.report.write import report
from weightmath.lab.table import Head, Table


def save(made: Table, stem: Path) -> Path:
    with Appender(stem, made.head) as appender:
        for row in made.rows:
            appender.append(row)
    return stem.with_suffix(".jsonl")


# --- recipes


def filled(lines: Sequence[Line], values: Mapping[str, float | str]) -> str:
    """The recipe of one point, as the page fills it in."""
    return "\n".join(line.text + ("" if line.param is None else json.dumps(values[line.param])) for line in lines)


def test_the_recipe_of_a_point_is_one_that_runs() -> None:
    text = filled(lines_of(RECIPE, ("alpha", "how")), {"alpha": 0.25, "how": "other: # way"})
    spec = recipe.loads(text).spec
    assert spec.params == {"alpha": 0.25, "how": "other: # way"}
    assert (spec.vary, spec.metric) == (None, None)
    assert dict(spec.let) == {"both": "(1 - alpha) * a + alpha * b"}
    assert text.startswith("# half of a and half of b\n")


def test_a_parameter_without_a_line_is_named() -> None:
    text = RECIPE.replace("params:\n  alpha: 0.5  # how much of b\n  how: linear\n", "params: {alpha: 0.5, how: x}\n")
    lines = filled(lines_of(text, ("alpha", "how")), {"alpha": 0.25, "how": "y"}).splitlines()
    assert lines[:3] == ["# --set alpha=0.25", '# --set how="y"', "# half of a and half of b"]
    assert "params: {alpha: 0.5, how: x}" in lines


# --- tables


def test_all_points_are_in_the_table() -> None:
    (sheet,) = of_table(results.split(), "split").sheets
    assert sheet.columns == ("point", "kept", "rescale", "share", "seconds")
    assert sheet.rows[2] == (2, 0.01, "density", 0.9, 0.25)
    assert sheet.texts(1) == ["1.00", "1.00", "0.01", "0.01", "0.10", "0.10"]
    assert sheet.texts(2)[:2] == ["density", "none"]


def test_the_best_is_marked() -> None:
    assert of_table(results.plane(), "plane").sheets[0].best == {0}
    front = of_table(results.search(), "search").sheets[0].best
    assert front == {row.index for row in results.search().pareto()}
    assert of_table(results.noise(), "noise").sheets[0].best == frozenset()


@pytest.mark.parametrize(
    ("cells", "texts"),
    [
        ((1, 1000, 20), ["1", "1,000", "20"]),
        ((0.5, 0.25, 1), ["0.50", "0.25", "1.00"]),
        ((1234.5678, 0.1), ["1,234.6", "0.1"]),
        ((1e-7, 0.5), ["1e-07", "0.5"]),
        ((2 / 3, math.nan, None, math.inf), ["0.6667", "–", "–", "inf"]),
        (("a", "b"), ["a", "b"]),
    ],
)
def test_numbers_of_a_column_are_aligned(cells: tuple[Any, ...], texts: list[str]) -> None:
    assert Sheet("t", ("c",), tuple((cell,) for cell in cells)).texts(0) == texts


def test_facts() -> None:
    facts = dict(of_table(results.search(), "search").facts)
    best = results.search().best("code")
    assert best is not None
    shown = f"{best.params['alpha']:.4g}, density = {best.params['density']:.4g}, method = {best.params['method']}"
    assert facts["best code (max)"] == f"{best.metrics['code']:.4g} at alpha = {shown}"
    assert facts["points"] == "60"


# --- files


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_may_be_named_by_its_stem_or_either_file(tmp_path: Path, kind: str) -> None:
    stem = tmp_path / "my.table"
    save(TABLES[kind](), stem.with_name("my.table.x"))
    first, *others = (section_of(stem.with_name(f"my.table.x{end}")) for end in (".jsonl", ".csv", ""))
    assert list(map(repr, others)) == [repr(first)] * 2  # NaN is not equal to itself
    assert first.title == "my.table.x"


def mistake(*paths: Path, **options: Any) -> str:
    with pytest.raises(WeightmathError) as error:
        report(paths, **options)
    return re.sub(r"/\S+/", "", str(error.value))


def test_what_is_refused(tmp_path: Path) -> None:
    good = save(results.sweep(), tmp_path / "good")
    page = tmp_path / "r.html"
    (tmp_path / "a.json").write_text('{"models": []}')
    (tmp_path / "b.json").write_text("{")
    (tmp_path / "c.jsonl").write_text('{"a": 1}\n')
    head = {"weightmath": "results 1", **vars(Head("sweep", ("a",), ("m",)))}
    (tmp_path / "d.jsonl").write_text(json.dumps(head) + "\n")
    hint = "weightmath compare CKPT... --json > comparison.json"
    refused = f"json: is not what `weightmath compare --json` prints\n  hint: {hint}"
    assert mistake(tmp_path / "a.json", page=page) == f"a.{refused}"
    assert mistake(tmp_path / "b.json", page=page) == f"b.{refused}"
    assert mistake(tmp_path / "c.jsonl", page=page) == "c.jsonl: is no results table of this version"
    assert mistake(tmp_path / "d.jsonl", page=page) == "d: holds no point yet"
    assert mistake(tmp_path / "none", page=page) == "none.jsonl: cannot be read: No such file or directory"
    assert mistake(tmp_path / "none.json", page=page) == "none.json: cannot be read: No such file or directory"
    assert mistake(page=page).startswith("nothing to report\n")
    assert mistake(good).startswith("nowhere to write to\n")
    assert not page.exists()


def test_a_file_is_replaced_by_force_alone(tmp_path: Path) -> None:
    good, page = save(results.sweep(), tmp_path / "good"), tmp_path / "r.html"
    page.write_text("mine")
    hint = "force=True replaces it; another name keeps it"
    assert mistake(good, page=page) == f"r.html: exists\n  hint: {hint}"
    (tmp_path / "good-loss-along-alpha.svg").write_text("mine")
    assert mistake(good, svg=tmp_path) == f"good-loss-along-alpha.svg: exists\n  hint: {hint}"
    assert page.read_text() == "mine"
    written = report([good], page, force=True)
    assert (written.page, written.pictures) == (page, ())
    assert page.read_text().startswith("<!doctype html>")
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_results_that_hold_nan_make_a_page(tmp_path: Path) -> None:
    odd = table("sweep", [({"a": i}, {"m": value}) for i, value in enumerate((1.0, math.nan, -math.inf))], {})
    report([save(odd, tmp_path / "odd")], tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert 'data-value="-Infinity"' in text
    data = text.partition('id="data">')[2].partition("</script>")[0]
    assert json.loads(data)["charts"][0]["data"][0]["y"] == [1.0, None, None]


def test_without_plotly_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = save(results.sweep(), tmp_path / "good")
    monkeypatch.setitem(sys.modules, "plotly", None)
    hint = "pip install 'weightmath[lab]'"
    assert mistake(good, page=tmp_path / "r.html") == f"the page needs plotly, which is not installed\n  hint: {hint}"
    monkeypatch.setitem(sys.modules, "kaleido", None)
    assert mistake(good, svg=tmp_path / "svg") == f"a picture needs kaleido, which is not installed\n  hint: {hint}"
