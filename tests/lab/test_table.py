"""Results tables: what is written, read back, gone on with and refused."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from weightmath.errors import TableError
from weightmath.lab.appender import Appender
from weightmath.lab.table import Head, Row, Table, read

HEAD = Head("sweep", ("alpha", "kind"), goal={"accuracy": "max", "loss": "min"}, recipe_hash="h", about={"n": 3})


def row(index: int, accuracy: float, loss: float) -> Row:
    return Row(index, {"alpha": index / 7, "kind": "x,y"}, {"accuracy": accuracy, "loss": loss}, 0.25)


ROWS = [row(0, 0.5, 2.0), row(1, 0.75, 1.5), row(2, math.nan, 1.0), row(3, 0.75, math.inf), row(4, 0.9, 3.0)]


def written(stem: Path, rows: list[Row], *, resume: bool = False) -> Table:
    with Appender(stem, HEAD, resume=resume) as appender:
        for one in rows:
            appender.append(one)
    return appender.table


def same(found: Table, rows: list[Row]) -> None:
    assert repr(found.rows) == repr(tuple(rows))  # NaN is not equal to itself


def test_a_table_is_read_back_and_its_csv_says_the_same(tmp_path: Path) -> None:
    written(tmp_path / "out", ROWS[::-1])
    for path in ("out", "out.jsonl", "out.csv"):
        found = read(tmp_path / path)
        same(found, ROWS)
    assert found.head.metrics == ("accuracy", "loss")
    assert (found.head.what, found.head.goal, found.head.about) == ("sweep", HEAD.goal, {"n": 3})
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert lines[0]["weightmath"] == "results 1"
    assert lines[2]["metrics"] == {"accuracy": 0.75, "loss": "inf"}
    with (tmp_path / "out.csv").open(newline="") as stream:
        copies = list(csv.DictReader(stream))
    assert [one["accuracy"] for one in copies] == ["0.9", "0.75", "nan", "0.75", "0.5"]
    assert [float(one["alpha"]) for one in copies] == [n / 7 for n in (4, 3, 2, 1, 0)]
    assert copies[0] | {"alpha": ""} == {
        "index": "4", "alpha": "", "kind": "x,y", "accuracy": "0.9", "loss": "3.0", "seconds": "0.25", "checkpoint": ""
    }  # fmt: skip


def test_columns_best_and_front() -> None:
    table = Table(Head("sweep", ("alpha", "kind"), ("accuracy", "loss"), HEAD.goal), tuple(ROWS))
    assert table.column("alpha") == [n / 7 for n in range(5)]
    assert table.column("loss") == [2.0, 1.5, 1.0, math.inf, 3.0]
    assert [table.best(name).index for name in ("accuracy", "loss", None)] == [4, 2, 4]  # type: ignore[union-attr]
    assert [one.index for one in table.pareto()] == [1, 4]
    with pytest.raises(TableError, match="no column `accurcy`"):
        table.column("accurcy")


def test_the_first_of_equals_is_best_and_equals_share_a_front() -> None:
    table = Table(Head("sweep", (), ("loss",), {"loss": "min"}), tuple(Row(i, {}, {"loss": 1.0}) for i in range(3)))
    assert table.best("loss") == table.rows[0]
    assert table.pareto() == table.rows
    nothing = Table(table.head, (Row(0, {}, {"loss": math.nan}),))
    assert (nothing.best("loss"), nothing.pareto()) == (None, ())


def test_the_front_is_what_a_second_definition_says() -> None:
    """Sorted by one metric, the front is where the running best of the other improves."""
    draw = np.random.default_rng(3).random((200, 2))
    rows = tuple(Row(i, {}, {"a": float(a), "b": float(b)}) for i, (a, b) in enumerate(draw))
    table = Table(Head("search", (), ("a", "b"), {"a": "max", "b": "min"}), rows)
    front = sorted(table.pareto(), key=lambda one: -one.metrics["a"])
    assert len(front) > 2
    assert all(one.metrics["b"] > other.metrics["b"] for one, other in pairwise(front))
    best = math.inf
    expected = set()
    for one in sorted(rows, key=lambda one: -one.metrics["a"]):
        if one.metrics["b"] < best:
            best = one.metrics["b"]
            expected.add(one.index)
    assert {one.index for one in front} == expected


@pytest.mark.parametrize(
    ("lines", "more", "rows"), [(6, -1, 4), (6, -30, 4), (2, 0, 1), (1, 5, 0), (1, 0, 0), (1, -2, 0), (0, 0, 0)]
)
def test_a_table_that_was_cut_short_is_gone_on_with(tmp_path: Path, lines: int, more: int, rows: int) -> None:
    written(tmp_path / "whole", ROWS)
    content = (tmp_path / "whole.jsonl").read_bytes()
    size = sum(map(len, content.splitlines(keepends=True)[:lines])) + more
    (tmp_path / "out.jsonl").write_bytes(content[:size])
    with Appender(tmp_path / "out", HEAD, resume=True) as appender:
        known = {one.index for one in appender.table.rows}
        assert len(known) == rows
        for one in ROWS:
            if one.index not in known:
                appender.append(one)
    for ending in ("jsonl", "csv"):
        assert (tmp_path / f"out.{ending}").read_bytes() == (tmp_path / f"whole.{ending}").read_bytes()


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    written(tmp_path / "out", ROWS[:1])
    with pytest.raises(TableError, match="never overwritten"):
        Appender(tmp_path / "out", HEAD)
    other = Head("sweep", ("alpha", "kind"), recipe_hash="another")
    with pytest.raises(TableError, match="belongs to another sweep"):
        Appender(tmp_path / "out", other, resume=True)
    (tmp_path / "mine.csv").write_text("a,b\n")
    with pytest.raises(TableError, match="no table beside it"):
        Appender(tmp_path / "mine", HEAD, resume=True)
    with pytest.raises(TableError, match="no such folder"):
        Appender(tmp_path / "none" / "out", HEAD)
    same(read(tmp_path / "out"), ROWS[:1])


@pytest.mark.parametrize("stem", [".", "..", "/"])
def test_a_folder_is_no_name_of_a_table(stem: str) -> None:
    for use in (read, lambda path: Appender(path, HEAD)):
        with pytest.raises(TableError, match="no name of a table"):
            use(stem)


def test_another_file_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt").write_bytes(b"weights")
    with pytest.raises(TableError, match=r"model\.ckpt: is no results table"):
        read(tmp_path / "model.ckpt")


def test_two_programs_do_not_write_one_table(tmp_path: Path) -> None:
    code = "import sys; from weightmath.lab.appender import *; Appender(sys.argv[1], Head('sweep', ()), resume=True)"
    with Appender(tmp_path / "out", HEAD):
        done = subprocess.run([sys.executable, "-c", code, tmp_path / "out"], capture_output=True, check=False)
    assert b"another program is writing it" in done.stderr
    assert list(tmp_path.iterdir()) == []  # nothing was measured, and nothing is left


ROW = '{"index": 1, "params": {"alpha": 1, "kind": "x"}, "metrics": {"accuracy": 0.5, "loss": 2}, "about": {}}'


@pytest.mark.parametrize(
    ("line", "content", "message"),
    [
        (1, '{"weightmath": "results 9"}', "no results table"),
        (1, '{"weightmath": "results 1"}', "head is damaged"),
        (
            1,
            '{"weightmath": "results 1", "what": "x", "params": [], "metrics": [], "goal": {"a": "max"}}',
            "head is damaged",
        ),
        (1, '{"weightmath": "results 1", "what": 3, "params": [], "metrics": []}', "head is damaged"),
        (2, "{", "out.jsonl:2: the line is damaged"),
        (2, "[" * 100_000, "out.jsonl:2: the line is damaged"),
        (3, ROW.replace("0.5", "1" + 400 * "0"), "out.jsonl:3: the row is damaged"),
        (3, ROW.replace('"x"', "{}"), "out.jsonl:3: the row is damaged"),
        (3, ROW.replace('"index": 1', '"index": "1"'), "out.jsonl:3: the row is damaged"),
        (3, ROW.replace('"loss": 2', '"lost": 2'), "out.jsonl:3: the row is damaged"),
        (3, ROW.replace('"about": {}', '"about": 3'), "out.jsonl:3: the row is damaged"),
        (3, ROW.replace('"about"', '"besides"'), "out.jsonl:3: the row is damaged"),
        (3, '{"index": 1}', "out.jsonl:3: the row is damaged"),
        (3, '{"index": 1, "params": {}, "metrics": {"a": "b"}}', "out.jsonl:3: the row is damaged"),
    ],
)
def test_damage_is_named(tmp_path: Path, line: int, content: str, message: str) -> None:
    written(tmp_path / "out", ROWS)
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    lines[line - 1] = content
    (tmp_path / "out.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(TableError) as caught:
        read(tmp_path / "out")
    assert message in str(caught.value)


def test_a_row_that_is_whole_is_taken(tmp_path: Path) -> None:
    written(tmp_path / "out", ROWS[:1])
    with (tmp_path / "out.jsonl").open("a") as file:
        file.write(ROW + "\n")
    assert read(tmp_path / "out").rows[1] == Row(1, {"alpha": 1, "kind": "x"}, {"accuracy": 0.5, "loss": 2.0})


def test_rows_of_a_table_are_alike(tmp_path: Path) -> None:
    with Appender(tmp_path / "out", HEAD) as appender:
        appender.append(ROWS[0])
        with pytest.raises(TableError, match="point 1 has the metrics `loss`, and the table `accuracy loss`"):
            appender.append(Row(1, ROWS[0].params, {"loss": 1.0}))


def test_one_name_for_two_columns(tmp_path: Path) -> None:
    with Appender(tmp_path / "out", Head("sweep", ("loss",))) as appender:
        appender.append(Row(0, {"loss": 1.0}, {"loss": 2.0, "seconds": 3.0}))
    first = (tmp_path / "out.csv").read_text().splitlines()[0]
    assert first == "index,params.loss,metrics.loss,metrics.seconds,seconds,checkpoint"
