"""Scopes and tiles: cells by name, and tiles that cut every tensor into whole rows without gap or overlap."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightmath import scope as module
from weightmath.dtypes import FLOAT32
from weightmath.errors import RecipeError
from weightmath.layout import Entry, Layout
from weightmath.scope import TILE, Domain, Scope, rows_are_cut, tile, tile_count

NAMES = ("blocks.0.attn.w", "blocks.0.mlp", "blocks.10.w", "blocks.1.w", "embed", "head", "layer2.0.w", "layer2.1.w")


def test_domains_are_ordered_from_coarse_to_fine():
    order = ["CONSTANT", "GLOBAL", "GROUP", "TENSOR", "ROW", "ELEMENT"]
    assert [domain.name for domain in sorted(Domain)] == order


@pytest.mark.parametrize(
    ("name", "domain"),
    [("row", "ROW"), ("tensor", "TENSOR"), ("layer", "GROUP"), ("global", "GLOBAL"), ("re:(.)", "GROUP")],
)
def test_domain_of_a_scope(name, domain):
    assert Scope.parse(name).domain is Domain[domain]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("layers", "did you mean `layer`"),
        ("everything", "row tensor layer global or re:"),
        ("re:(", "is not a regular expression"),
        ("re:blocks", "has no group"),
    ],
)
def test_no_scope(name, message):
    with pytest.raises(RecipeError) as caught:
        Scope.parse(name)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("global", [""] * 8),
        ("layer", ["blocks.0", "blocks.0", "blocks.10", "blocks.1", "embed", "head", "layer2", "layer2"]),
        (r"re:blocks\.(\d+)", ["0", "0", "10", "1", "embed", "head", "layer2.0.w", "layer2.1.w"]),
        (r"re:(attn)?", list(NAMES)),
        ("re:(w)$", ["w", "blocks.0.mlp", "w", "w", "embed", "head", "w", "w"]),
    ],
)
def test_cells(name, cells):
    assert [Scope(name).cell(tensor) for tensor in NAMES] == cells


def test_cells_are_numbered_as_they_come():
    layout = Layout.of(Entry(name, (1,), FLOAT32) for name in NAMES)
    names, of_entry = Scope("layer").cells(layout)
    assert layout.names[:4] == ("blocks.0.attn.w", "blocks.0.mlp", "blocks.1.w", "blocks.10.w")
    assert names == ("blocks.0", "blocks.1", "blocks.10", "embed", "head", "layer2")
    assert of_entry == (0, 0, 1, 2, 3, 4, 5, 5)


shapes = st.lists(st.integers(0, 40), max_size=3) | st.tuples(st.integers(0, 5), st.integers(0, 500))


def tiles(entry):
    return [tile(entry, number) for number in range(tile_count(entry))]


@given(shapes, st.integers(1, 100))
def test_tiles_cut_a_tensor_without_gap_or_overlap(shape, size):
    with patch.object(module, "TILE", size):
        entry = Entry("x", tuple(shape), FLOAT32)
        cut = tiles(entry)
        assert [element for one in cut for element in range(one.start, one.stop)] == list(range(entry.size))
        for one in cut:
            assert 0 < one.stop - one.start <= size
            assert one.row == one.start // entry.row_size
            assert one.row + one.rows - 1 == (one.stop - 1) // entry.row_size
            if rows_are_cut(entry):
                assert one.rows == 1
            else:
                assert one.start % entry.row_size == one.stop % entry.row_size == 0


def test_a_tile_is_as_large_as_it_can_be():
    assert TILE == 65_536
    sizes = [one.stop - one.start for one in tiles(Entry("x", (100, 1000), FLOAT32))]
    assert sizes == [65_000, 35_000]
    assert [one.stop - one.start for one in tiles(Entry("x", (2, 70_000), FLOAT32))] == [65_536, 4_464] * 2
