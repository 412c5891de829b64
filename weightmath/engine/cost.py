"""What a run reads and computes, known beforehand: the programs that it will run say what they need and do.

Rounds of tensors, samples of selections, tensors that a static 0 or a narrowed vector spares: all of it counts. Only a
selection that its sample misleads reads more than is said here.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

from weightmath.algebra.graph import Vector
from weightmath.engine.grouping import Grouping, readings
from weightmath.engine.outcome import stride
from weightmath.engine.plan import PAIRWISE, REDUCTIONS, SELECTIONS, WHOLE_TENSOR, Plan, is_inline
from weightmath.engine.search import Search, sampled_tiles
from weightmath.engine.work import Group, Wanted
from weightmath.layout import Entry
from weightmath.scope import Domain, tile

# Singular value decompositions of one matrix, from the number of operands. Rough for "wudi", whose steps are products.
DECOMPOSITIONS: dict[str, Callable[[int], int]] = {
    "truncated_svd": lambda count: 1,
    "tsv": lambda count: count + 2,
    "iso_c": lambda count: 3,
    "iso_cts": lambda count: count + 3,
    "knots": lambda count: count,
    "wudi": lambda count: count + 1,
}
_SPECIAL_POWERS = {2: "multiply", 0.5: "sqrt"}


def bytes_read(plan: Plan) -> int:
    """Bytes that a run of the plan reads from its inputs, in all passes, readings and rounds."""
    return sum(_bytes_of_group(group, elements, plan) for _, group, elements in _groups(plan))


def operations(plan: Plan) -> dict[str, float]:
    """How many float32 elements each operation of a run goes through; an element of float64 counts as two.

    The names are those of the graph's operations, and
        read DTYPE, write DTYPE  elements of inputs made numbers, and of outputs rounded, screened and handed on
        compare, moments         elements of outputs beside their templates: all, and those that tell how far they moved
        tally, sort, keep        elements that selections look at, as the model streams by or held in memory, and mask
        gram, ...                elements times pairs of vectors
        svd                      elements times the smaller side of the matrix, for each decomposition
        tensor read, written     tensors, not elements; and
        tensor group             tensors, or as many small ones as go through their programs together
    """
    counts: defaultdict[str, float] = defaultdict(float)
    known: dict[object, tuple[tuple[str, float], ...]] = {}  # the same for groups of one program and shape
    for wanted, group, through in _groups(plan):
        width = plan.compute_dtypes[group.entries[0]].itemsize / 4
        shape = plan.layout.entries[group.entries[0]].shape
        for number, program in enumerate(group.programs):
            last = number == group.last
            elements = width * through[number]
            counts["tensor group"] += 1
            counts["tensor read"] += len(group.entries) * len(program.reads)
            counts["tensor written"] += len(group.entries) * len(wanted.outputs) * last
            key = (id(group.programs), number, shape)
            if key not in known:
                known[key] = tuple(_of_program(group, number, wanted, plan))
            for name, each in known[key]:
                counts[name] += elements * each
    return dict(counts)


@lru_cache(maxsize=1)  # of the plan at hand, which is asked for its bytes, operations and tensors in turn
def _groups(plan: Plan) -> tuple[tuple[Wanted, Group, tuple[int, ...]], ...]:
    """All that a run goes through, in order: what for, and for each program how many elements."""
    grouping = Grouping(plan)
    found: list[tuple[Wanted, Group, tuple[int, ...]]] = []
    for one in plan.passes:
        for wanted in readings(one, plan):
            if wanted is not None:
                for group in grouping.groups(wanted):
                    numbers = range(len(group.programs))
                    found.append((wanted, group, tuple(_elements(group, number, wanted, plan) for number in numbers)))
    return tuple(found)


def _of_program(group: Group, number: int, wanted: Wanted, plan: Plan) -> Iterator[tuple[str, float]]:
    """The operations of one program on each element, and how often."""
    first = group.entries[0]
    shape, program = plan.layout.entries[first], group.programs[number]
    for node in program.nodes:
        looked_up = node.static or (node.op in (*SELECTIONS, *REDUCTIONS, *WHOLE_TENSOR) and not is_inline(node, shape))
        if not looked_up:
            yield from _of_node(node, shape)
    for node in program.completes:
        yield from [("tally", 1)] if program.is_search and node.op in SELECTIONS else _of_node(node, shape)
    if number == group.last:
        yield from (("tally", 1) for _ in wanted.selecting(first))
        for output in wanted.outputs:
            if plan.facts.present[output.value][first]:
                yield f"write {(output.dtype or shape.dtype).name}", 1
                if output.template is not None:
                    yield "compare", 1
                    yield "moments", 1 / stride(plan)


def _of_node(node: Vector, shape: Entry) -> Iterator[tuple[str, float]]:
    """What a node takes per element, where it is computed. Arithmetic of statistics is nothing beside elements."""
    count = len(node.args)
    if node.op == "input":
        assert node.source is not None
        yield f"read {node.source.layout[shape.name].dtype.name}", 1
    elif node.op == "random":
        yield node.option("draw"), 1
    elif node.op in PAIRWISE:
        yield node.op, count * (count + 1) / 2
    elif node.op in REDUCTIONS:
        yield node.op, 1
    elif node.op in SELECTIONS:
        yield "sort", 1
    elif node.op == "largest_mask":
        yield "keep", 1
    elif node.op == "whole_tensor":
        rows = shape.shape[0] if len(shape.shape) > 1 else 0
        smaller = min(rows, math.prod(shape.shape[1:]))
        yield "svd", smaller * DECOMPOSITIONS[node.option("function")](count)
    elif node.domain < Domain.ELEMENT:
        return
    elif node.op == "power":
        exponent = node.args[1].option("value")
        yield _SPECIAL_POWERS.get(exponent, "power"), 1
    else:
        yield node.op, count if node.op == "median" else 1


def tensors_read(plan: Plan) -> dict[Vector, set[int]]:
    """The entries that a run of the plan reads whole, once or more often, by input."""
    found: dict[Vector, set[int]] = {}
    for wanted, group, _ in _groups(plan):
        for program in () if wanted.sampling else group.programs:
            for node in program.reads:
                found.setdefault(node, set()).update(group.entries)
    return found


def _bytes_of_group(group: Group, through: Sequence[int], plan: Plan) -> int:
    name = plan.layout.names[group.entries[0]]  # entries that are computed alike are stored alike
    return sum(
        elements * sum(_width(node, name) for node in program.reads)
        for elements, program in zip(through, group.programs, strict=True)
    )


def _elements(group: Group, number: int, wanted: Wanted, plan: Plan) -> int:
    """Elements that a program goes through: all of its entries, or those of the tiles that some sample needs."""
    program = group.programs[number]
    if wanted.sampling and number == group.last:
        return sum(_of_tiles(plan, entry, wanted.sampled_tiles(entry)) for entry in group.entries)
    whole = sum(map(plan.layout.sizes.__getitem__, group.entries))
    if not program.is_search:
        return whole
    (entry,) = group.entries
    searches = (Search.within(node, plan, entry) for node in program.selections)
    return whole + _of_tiles(plan, entry, sampled_tiles(searches, entry))


def _of_tiles(plan: Plan, entry: int, numbers: Iterable[int]) -> int:
    tiles = (tile(plan.layout.entries[entry], number) for number in numbers)
    return sum(one.stop - one.start for one in tiles)


def _width(node: Vector, name: str) -> int:
    assert node.source is not None
    return node.source.layout[name].dtype.itemsize
