"""Which tensors share a chunk: those that are computed alike, up to its size, whatever lies between them."""

from __future__ import annotations

from tests.engine.whole import plan_of
from weightmath import functions as f
from weightmath import methods
from weightmath.algebra.graph import Input, Vector, input_vector
from weightmath.dtypes import DTYPES
from weightmath.engine.frame import Piece, packs
from weightmath.engine.grouping import Grouping, readings
from weightmath.layout import Entry, Layout
from weightmath.scope import TILE

# Weights of one and a half tiles, with a bias after each, as networks have them.
WEIGHTS = [f"blocks.{i}.weight" for i in range(8)]
BIASES = [f"blocks.{i}.bias" for i in range(8)]
PAIRS = [WEIGHTS[i : i + 2] for i in range(0, 8, 2)]
SHAPES = {**dict.fromkeys(WEIGHTS, (TILE // 256, 384)), **dict.fromkeys(BIASES, (384,))}
LAYOUT = Layout.of(Entry(name, shape, DTYPES["float32"]) for name, shape in SHAPES.items())
a, b = (input_vector(Input(name, LAYOUT)) for name in "ab")


def shared(value: Vector, chunk: int = 4 * TILE) -> list[list[str]]:
    """The groups of the last reading, by the names of their tensors; sorted."""
    plan = plan_of(value)
    grouping = Grouping(plan, chunk)
    found: list[list[str]] = []
    for one in plan.passes:
        found = [[LAYOUT.names[entry] for entry in group.entries] for group in grouping.groups(readings(one, plan)[1])]
    return sorted(found)


def test_large_ones_share_a_chunk_and_small_ones_another():
    assert shared(a + 0.5 * (b - a)) == [BIASES, *PAIRS]


def test_what_needs_rounds_does_too():
    assert shared(methods.load()["slerp"].call(a, b, t=0.3, scope="tensor")) == [BIASES, *PAIRS]
    assert shared(a * f.norm(b, scope="row")) == [BIASES, *PAIRS]


def test_tensors_larger_than_a_chunk_are_alone():
    assert shared(a + b, TILE) == [BIASES, *([weight] for weight in WEIGHTS)]


def test_what_is_selected_from_does_too():
    assert shared(f.keep_largest(a, 0.5, scope="tensor")) == [BIASES, *PAIRS]


def test_what_is_collected_whole_is_alone():
    """Its elements are held until the round ends."""
    assert shared(f.truncated_svd(a, rank=1)) == [BIASES, *([weight] for weight in WEIGHTS)]


def test_what_is_computed_in_another_way_is_elsewhere():
    only = f.where(f.match("*.0.*", "*.1.*"), a, a + b)
    assert shared(only) == sorted([BIASES[:2], BIASES[2:], *PAIRS])


def test_arrays_hold_as_many_pieces_as_a_tile():
    sizes = [TILE // 2, TILE // 4, TILE // 4, 1, 2 * TILE, 3]
    pieces = [Piece(entry, 0, 0, 0, size, 0) for entry, size in enumerate(sizes)]
    assert [[piece.entry for piece in pack] for pack in packs(pieces)] == [[0, 1, 2], [3], [4], [5]]
