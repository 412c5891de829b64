"""Layouts: order, offsets, differences, and patterns against Python's own fnmatch and re."""

from __future__ import annotations

import copy
import fnmatch
import pickle
import re
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightmath.dtypes import DTYPES
from weightmath.errors import RecipeError
from weightmath.layout import Entry, Layout, Patterns, difference

F32, F16 = DTYPES["float32"], DTYPES["float16"]
SHAPES = {"b.w": (3, 4), "a": (), "b.bias": (5,), "c": (0, 7), "d": (2, 3, 4)}


def layout(shapes: dict[str, tuple[int, ...]], dtype=F32) -> Layout:
    return Layout.of(Entry(name, shape, dtype) for name, shape in shapes.items())


@pytest.mark.parametrize(
    ("shape", "size", "rows", "row_size"),
    [
        ((), 1, 1, 1),
        ((5,), 5, 1, 5),
        ((0,), 0, 1, 0),
        ((3, 4), 12, 3, 4),
        ((2, 3, 4), 24, 2, 12),
        ((0, 4), 0, 0, 0),
        ((4, 0), 0, 4, 0),
    ],
)
def test_sizes(shape, size, rows, row_size):
    entry = Entry("x", shape, F16)
    assert (entry.size, entry.rows, entry.row_size, entry.nbytes) == (size, rows, row_size, 2 * size)


def test_a_layout_is_sorted_by_name_whatever_the_order():
    entries = [Entry(name, shape, F32) for name, shape in SHAPES.items()]
    layouts = {Layout.of(order) for order in permutations(entries)}
    assert len(layouts) == 1
    (only,) = layouts
    assert only.names == ("a", "b.bias", "b.w", "c", "d")
    assert only.offsets == (0, 1, 6, 18, 18, 42)
    assert only.size == 42
    assert only["b.w"].shape == (3, 4)
    assert ("b.w" in only, "x" in only, len(only)) == (True, False, 5)


def test_a_fingerprint_knows_names_and_shapes_but_no_dtypes():
    base = layout(SHAPES)
    assert layout(SHAPES, F16).fingerprint == base.fingerprint
    assert layout(SHAPES | {"d": (3, 2, 4)}).fingerprint != base.fingerprint
    assert layout({**SHAPES, "e": ()}).fingerprint != base.fingerprint
    assert layout({}).size == 0


def test_a_template_is_no_part_of_identity():
    assert Layout((), template=1) == Layout((), template=2)


def test_differences():
    expected = layout(SHAPES)
    actual = layout({"a": (), "b.w": (4, 3), "b.bias": (5,), "z": (1,)})
    found = difference(expected, actual)
    assert found.missing == ("c", "d")
    assert found.extra == ("z",)
    assert found.reshaped == (("b.w", (3, 4), (4, 3)),)
    assert found
    assert not difference(expected, layout(SHAPES, F16))


# --- patterns


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*attn*", ["x.attn.w", "attn"], ["x.mlp.w"]),
        ("blocks.?.w", ["blocks.1.w"], ["blocks.10.w", "xblocks.1.w", "blocks.1.w2"]),
        ("blocks.[12].w", ["blocks.1.w"], ["blocks.3.w"]),
        ("*", ["", "anything"], []),
        ("a.b", ["a.b"], ["axb"]),
        (r"re:blocks\.\d+", ["x.blocks.12.w"], ["blocks.x"]),
        ("re:^a|b$", ["ax", "xb"], ["xay"]),
        ("re:(?i)ATTN", ["x.attn"], ["mlp"]),
        (r"re:(\w)\1", ["aab"], ["aba"]),
        ("re:[(]x[)]", ["f(x)"], ["fx", "?x:"]),
        (r"re:(?P<p0>q|k)_proj", ["q_proj"], ["v_proj"]),
    ],
)
def test_patterns(pattern, yes, no):
    one = Patterns([pattern])
    assert [name for name in yes + no if one.matches(name)] == yes
    assert [name for name in yes + no if Patterns(["nothing", pattern, "re:^$x"]).first(name) == 1] == yes


def test_the_first_pattern_that_matches_decides():
    patterns = Patterns(["a*", "re:b(c)", "*c", "re:.", "z"])
    assert [patterns.first(name) for name in ("abc", "bc", "c", "z", "")] == [0, 1, 2, 3, None]
    assert Patterns([]).first("a") is None


def test_no_regular_expression():
    with pytest.raises(RecipeError, match=r"`re:\(` is not a regular expression"):
        Patterns(["*", "re:("])


globs = st.text("ab.*?[]!-1", max_size=6)


@given(st.lists(globs | globs.map(lambda text: "re:" + re.escape(text)), max_size=5), st.text("ab.1-]", max_size=6))
def test_patterns_are_those_of_fnmatch_and_re(patterns, name):
    def matches(pattern: str) -> bool:
        if pattern.startswith("re:"):
            return re.search(pattern[3:], name) is not None
        return fnmatch.fnmatchcase(name, pattern)

    expected = next((number for number, pattern in enumerate(patterns) if matches(pattern)), None)
    assert Patterns(patterns).first(name) == expected


def test_a_layout_that_was_pickled_or_copied_is_equal():
    layout = Layout.of([Entry("w", (2, 3), DTYPES["bfloat16"]), Entry("b", (3,), DTYPES["float32"])])
    for again in (pickle.loads(pickle.dumps(layout)), copy.deepcopy(layout)):
        assert again == layout
        assert again.entries[0].dtype is DTYPES["float32"]
