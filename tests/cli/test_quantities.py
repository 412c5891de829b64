"""Sizes, times and shares in words, and sizes back from words."""

from __future__ import annotations

import pytest

from weightmath.cli.quantities import number_text, seconds_text, share_text, size_text
from weightmath.errors import RecipeError, counted
from weightmath.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("65536", 65536),
        ("512MB", 512_000_000),
        ("512 mb", 512_000_000),
        ("2GB", 2 * 10**9),
        ("2g", 2 * 10**9),
        ("1.5GiB", 3 * 2**29),
        (".5kB", 500),
        ("7B", 7),
    ],
)
def test_parse_size(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1MB", "1XB", "1e9", "1MBB", "nan", "1 2MB"])
def test_no_size(text: str) -> None:
    with pytest.raises(RecipeError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (94_249, "94.2 kB"),
        (999_499, "999 kB"),
        (999_600, "1.00 MB"),
        (2_120_551_145, "2.12 GB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_size_text(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.01 s"), (0.123, "0.12 s"), (7.34, "7.3 s"), (245.4, "4 min 05 s"), (7800.0, "2 h 10 min")],
)
def test_seconds_text(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 7, "0%"),
        (7, 7, "100%"),
        (0, 0, "0%"),
        (1, 10**9, "0.01%"),
        (10**9 - 1, 10**9, "99.99%"),
        (1, 3, "33.3%"),
        (1, 1500, "0.07%"),
    ],
)
def test_share_text(part: int, whole: int, text: str) -> None:
    assert share_text(part, whole) == text


def test_counts_and_numbers() -> None:
    assert counted(1, "tensor") == "1 tensor"
    assert counted(1143, "tensor") == "1,143 tensors"
    assert counted(2, "pass") == "2 passes"
    assert number_text(1 / 3) == "0.333333"
    assert number_text("a") == "a"
