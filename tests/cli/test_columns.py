"""Tables fit a width: the last column wraps, others lose their middle, nothing else is cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from weightmath.cli.columns import laid_out, wrapped


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


def test_wide_letters_count_twice() -> None:
    assert laid_out([["層", "x"], ["abc", "y"]], 80) == ["  層   x", "  abc  y"]


LETTERS = st.characters(codec="utf-8", exclude_categories=["C", "Z", "M"])
CELLS = st.text(LETTERS, max_size=40)
LAST = st.lists(st.text(LETTERS, max_size=12), max_size=5).map(" ".join)  # a word that is too wide stays whole


@given(st.lists(st.tuples(CELLS, CELLS, LAST), max_size=4), st.integers(70, 120))
def test_lines_fit(rows: list[tuple[str, ...]], width: int) -> None:
    assert all(cell_len(line) <= width for line in laid_out(rows, width))


@given(st.text("ab ", max_size=60), st.integers(5, 30))
def test_wrapping_keeps_every_word(text: str, width: int) -> None:
    assert " ".join(wrapped(text, width)).split() == text.split()
