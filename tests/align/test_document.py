"""Specs as YAML: what a line means, and the mistakes that are found."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from weightmath.align.document import bind, parse, text_of
from weightmath.align.known import spec_for
from weightmath.align.spec import Move, Permutation, Spec, check, permuted, positions, units
from weightmath.dtypes import DTYPES
from weightmath.errors import LayoutError, RecipeError, WeightmathError
from weightmath.layout import Entry, Layout

LAYOUT = Layout.of(
    Entry(name, shape, DTYPES["float32"])
    for name, shape in {
        "net.0.in.weight": (6, 4),
        "net.0.in.bias": (6,),
        "net.0.out.weight": (4, 6),
        "net.1.in.weight": (6, 4),
        "net.1.out.weight": (4, 6),
        "qkv.weight": (24, 5),
        "proj.weight": (5, 8),
        "square.weight": (6, 6),
    }.items()
)


def bound(text: str, heads: int | None = None) -> Spec:
    return bind(parse(text, "spec.yaml"), LAYOUT, heads)


def test_a_line_for_every_axis() -> None:
    found = bound(
        """
        units of <at*><i>:              # a comment
          <at*><i>.in.weight: 0
          <at*><i>.in.bias?: 0
          <at*><i>.out.weight: 1
          <at*><i>.out.bias?: stays
        heads:
          qkv.weight: 0 in 3 parts of <heads> blocks
          proj.weight: 1 in <heads> blocks
        both:
          square.weight: [0, 1]
        """,
        heads=2,
    )
    moves = {
        one.name: (one.size, [(move.tensor, move.axis, move.parts) for move in one.moves]) for one in found.permutations
    }
    assert moves == {
        "units of net.0": (6, [("net.0.in.weight", 0, 1), ("net.0.in.bias", 0, 1), ("net.0.out.weight", 1, 1)]),
        "units of net.1": (6, [("net.1.in.weight", 0, 1), ("net.1.out.weight", 1, 1)]),
        "heads": (2, [("qkv.weight", 0, 3), ("proj.weight", 1, 1)]),
        "both": (6, [("square.weight", 0, 1), ("square.weight", 1, 1)]),
    }


def test_a_number_for_each_head_has_no_width() -> None:
    found = bound("heads: {proj.weight: 1 in <heads> blocks, square.weight: 0 in <heads> blocks}", heads=6)
    assert [one.size for one in found.permutations] == [6]


def test_a_permutation_in_one_line() -> None:
    found = bound("units of in: {net.0.in.weight: 0, net.0.in.bias: 0, net.0.out.weight: 1}")
    assert [len(one.moves) for one in found.permutations] == [3]


def test_what_is_written_is_read_again() -> None:
    text = "h:\n  qkv.weight: 0 in 3 parts of 4 blocks\n  proj.weight: 1 in 4 blocks\nb:\n  square.weight: [0, 1]\n"
    assert text_of(bound(text), LAYOUT) == text


MISTAKES = {
    "nothing": ("", "spec.yaml: the spec is empty"),
    "a list": ("- p", "spec.yaml: a spec is a mapping, and this is none\n  hint: for example\n  units of fc1:"),
    "no lines": ("p: 0", "spec.yaml:1: p: a permutation has a line for each axis"),
    "no axis": ("p:\n  qkv.weight: rows", "spec.yaml:2: p.qkv.weight: `rows` is no axis"),
    "variables": ("p:\n  net.<i>.in.weight: 0", "have different <variables>"),
    "no such tensor": ("p:\n  typo.weight: 0", "spec.yaml:2: p.typo.weight: no floating-point tensor is called"),
    "a tensor is lacking": ("p<i>:\n  net.<i>.in.weight: 0\n  net.<i>.in.bias: 0", "no floating-point tensor `net.1."),
    "too many axes": ("p:\n  qkv.weight: 2", "has shape (24, 5), and no axis 2"),
    "two sizes": ("p:\n  qkv.weight: 0\n  proj.weight: 1", "different numbers: 24 on axis 0 of `qkv.weight`, 8 on"),
    "something else": ("p:\n  net.0.in.weight: 0\n  net.*: nothing else", "`net.0.in.bias` is not in `p`"),
    "nothing moves": ("p:\n  qkv.weight: stays", "`p` moves nothing"),
    "twice": ("p:\n  qkv.weight: 0\n  qkv.weight: 1", "is given twice"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES.values(), ids=MISTAKES)
def test_mistakes_have_a_place(case: tuple[str, str]) -> None:
    text, says = case
    with pytest.raises(WeightmathError, match=re.escape(says)):
        bound(text)


def test_a_spec_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("p:\n  net.0.in.weight: 0\n  net.0.in.bias: 0\n  net.0.out.weight: 1\n")
    spec, origin = spec_for(str(tmp_path / "own.yaml"), LAYOUT)
    assert (spec.permutations[0].size, origin) == (6, str(tmp_path / "own.yaml"))


def test_files_that_are_no_spec(tmp_path: Path) -> None:
    (tmp_path / "zip.pt").write_bytes(b"PK\xff")
    with pytest.raises(RecipeError, match="is not text: byte 2 is not UTF-8"):
        spec_for(str(tmp_path / "zip.pt"), LAYOUT)
    with pytest.raises(RecipeError, match="cannot be read: Is a directory"):
        spec_for(str(tmp_path), LAYOUT)


CHECKS = {
    "one axis": ((Move("qkv.weight", 0),), 24, "moves one axis alone"),
    "a bias that stays": (
        (Move("net.0.in.weight", 0), Move("net.0.out.weight", 1)),
        6,
        "moves axis 0 of `net.0.in.weight` but not `net.0.in.bias`",
    ),
    "a rest": ((Move("qkv.weight", 0, 3), Move("proj.weight", 1)), 5, "has 5 units in 3 parts, which 24 elements"),
}


@pytest.mark.parametrize("case", CHECKS.values(), ids=CHECKS)
def test_specs_that_would_change_the_function(case: tuple[tuple[Move, ...], int, str]) -> None:
    moves, size, says = case
    with pytest.raises(LayoutError, match=re.escape(says)):
        check(Spec((Permutation("p", size, moves),)), LAYOUT)


def test_an_axis_has_one_permutation() -> None:
    moves = (Move("square.weight", 0), Move("square.weight", 1))
    with pytest.raises(LayoutError, match=r"moves axis 0 of `square\.weight`, which moves with `p`"):
        check(Spec((Permutation("p", 6, moves), Permutation("q", 6, moves))), LAYOUT)


def test_blocks_and_parts() -> None:
    order = np.array([1, 0])
    assert positions(order, 6).tolist() == [3, 4, 5, 0, 1, 2]
    assert positions(order, 12, 3).tolist() == [2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9]
    array = np.arange(24).reshape(2, 12)
    spec = Spec((Permutation("p", 2, (Move("x", 1, 3), Move("x", 0))),))
    found = permuted(array, "x", spec, {"p": order})
    np.testing.assert_array_equal(found, array.reshape(2, 3, 2, 2)[::-1, :, ::-1].reshape(2, 12))
    np.testing.assert_array_equal(permuted(array, "x", spec, {"p": order}, without=Move("x", 0)), found[::-1])
    rows = units(array, Move("x", 1, 3), 2)
    np.testing.assert_array_equal(np.sort(rows[0]), np.sort(array.reshape(2, 3, 2, 2)[:, :, 0].reshape(-1)))
