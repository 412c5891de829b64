"""Tables fit a width: the last column wraps, others lose their middle, nothing else is cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from weightmath.cli.columns import laid_out, parted, wrapped

LETTERS = st.characters(codec="utf-8", exclude_categories=["C", "Z", "M"])
CELLS = st.text(LETTERS, max_size=40)
LAST = st.lists(st.text(LETTERS, max_size=12), max_size=5).map(" ".join)  # a word that is too wide stays whole


def test_columns_are_aligned() -> None:
    rows = [["name", "size", "note"], ["a", "1,000", ""], ["long name", "7", "x y"]]
    assert laid_out(rows, 80, right={1}) == [
        "  name        size  note",
        "  a          1,000",
        "  long name      7  x y",
    ]


def test_the_last_column_wraps_below_itself() -> None:
    lines = laid_out([["name", "some words that do not fit here"]], 32)
    assert lines == ["  name  some words that do not", "        fit here"]


def test_wide_columns_lose_their_middle() -> None:
    name = "model.diffusion_model.input_blocks.11.weight"
    (line,) = laid_out([[name, "float32"]], 40)
    assert line.startswith("  model.diffusi")
    assert line.endswith("11.weight  float32")
    assert cell_len(line) <= 40
    assert laid_out([[name, "float32"]], 200) == [f"  {name}  float32"]


def test_rows_may_be_shorter() -> None:
    assert laid_out([["a", "b", "c"], ["a"]], 80) == ["  a  b  c", "  a"]
    assert laid_out([], 80) == []


def test_a_row_of_one_cell_is_a_line_of_its_own() -> None:
    rows = [["", "size"], ["a name that is long"], ["  x", "1"], ["  y", "2"]]
    assert laid_out(rows, 20, right={1}) == ["       size", "  a name that is long", "    x     1", "    y     2"]


def test_columns_that_do_not_fit_are_parted_and_the_leading_ones_stay() -> None:
    rows = [["model", "first", "second", "third"], ["a", "1", "2", "3"]]
    assert parted(rows, 80) == [[0, 1, 2, 3]]
    assert parted(rows, 24) == [[0, 1, 2], [0, 3]]
    assert parted(rows, 16) == [[0, 1], [0, 2], [0, 3]]
    assert parted(rows, 24, lead=2) == [[0, 1, 2], [0, 1, 3]]
    assert parted([["x" * 90, "1", "2"]], 24) == [[0, 1, 2]]


@given(st.lists(st.tuples(*[st.text(LETTERS, max_size=30)] * 6), min_size=1, max_size=3), st.integers(70, 120))
def test_parts_fit_and_have_every_column_once(rows: list[tuple[str, ...]], width: int) -> None:
    parts = parted(rows, width)
    assert [column for part in parts for column in part[1:]] == [1, 2, 3, 4, 5]
    for part in parts:
        inner = [[row[column] for column in part] for row in rows]
        assert all(cell_len(line) <= width for line in laid_out(inner, width))
        whole = [cell for row in inner for cell in row[1:]]
        text = "\n".join(laid_out(inner, width))
        assert all(cell in text for cell in whole)


def test_wide_letters_count_twice() -> None:
    assert laid_out([["層", "x"], ["abc", "y"]], 80) == ["  層   x", "  abc  y"]


@given(st.lists(st.tuples(CELLS, CELLS, LAST), max_size=4), st.integers(70, 120))
def test_lines_fit(rows: list[tuple[str, ...]], width: int) -> None:
    assert all(cell_len(line) <= width for line in laid_out(rows, width))


@given(st.text("ab ", max_size=60), st.integers(5, 30))
def test_wrapping_keeps_every_word(text: str, width: int) -> None:
    assert " ".join(wrapped(text, width)).split() == text.split()
