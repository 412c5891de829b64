"""Support: which tensors a vector has, and which it should have but lacks.

An absent delta reads as 0. A vector that `only` or `without` narrowed is absent on purpose: what is made of it is
absent too, and an output keeps its template's tensor there. A *gap* is a tensor that a part model's file lacks. Gaps
pass through functions, end where a vector is narrowed or overlaid, and are an error where they meet a vector that has
the tensor.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from weightmath.algebra.graph import Vector, topological
from weightmath.algebra.names import Numbers
from weightmath.algebra.show import brief
from weightmath.errors import LayoutError, listed
from weightmath.layout import Layout
from weightmath.scope import Domain

Flags = NDArray[np.bool_]

# Operations in which an absent delta reads as 0; in all others an absent operand makes the result absent.
_PADDED = ("add", "subtract", "negative", "minimum", "maximum", "where", "median")


@dataclass(frozen=True)
class Facts:
    """What is known of each node before anything is read; arrays hold one value per entry of the layout.

    static    values of numbers and tables
    present   whether the node has the tensor
    gaps      whether it lacks the tensor because a part model's file does
    weights   its affine weight; NaN is unknown
    ready     the first pass in which it can be computed
    """

    static: dict[Vector, Numbers] = field(default_factory=dict)
    present: dict[Vector, Flags] = field(default_factory=dict)
    gaps: dict[Vector, Flags] = field(default_factory=dict)
    weights: dict[Vector, Numbers] = field(default_factory=dict)
    ready: dict[Vector, int] = field(default_factory=dict)


def presence(node: Vector, facts: Facts, layout: Layout) -> Flags:
    """Which entries a node has, from what is known of its operands."""
    if node.source is not None:
        return np.array([entry is not None for entry in node.source.layout.under(layout.names)], dtype=bool)
    vectors = _vectors(node)
    if node.domain < Domain.ELEMENT or not vectors:
        return np.ones(len(layout), dtype=bool)
    there = [facts.present[arg] for arg in vectors]
    if node.op == "overlay":
        return there[0] | there[1]
    if node.op == "only":
        return there[0] & _inside(node, layout)
    if node.op not in _PADDED:
        return np.asarray(np.all(there, axis=0), dtype=bool)
    lost = [~facts.present[arg] & (facts.weights[arg] != 0) & _used(node, arg, facts, layout) for arg in vectors]
    return _some(there) & ~_some(lost)


def gaps(node: Vector, facts: Facts, layout: Layout) -> Flags:
    """Where a node lacks a tensor because a part does, from the gaps in its operands.

    LayoutError where an operand has a gap and another one has the tensor.
    """
    nowhere = np.zeros(len(layout), dtype=bool)
    if node.source is not None:
        return ~facts.present[node] if node.source.part and node.source.kind != "delta" else nowhere
    vectors = _vectors(node)
    gap = _some([facts.gaps[arg] & _used(node, arg, facts, layout) for arg in vectors]) if vectors else nowhere
    if node.op == "overlay":
        return gap & ~facts.present[node]
    if node.op == "only":
        return gap & _inside(node, layout)
    for arg in vectors:
        meeting = gap & facts.present[arg]
        if meeting.any():
            raise _missing(node, arg, facts, meeting, layout)
    if node.domain < Domain.ELEMENT:
        return nowhere
    # A difference of two parts, or a part times 0, is a delta, and that may lack tensors.
    return gap if node.is_mask else gap & (facts.weights[node] != 0)


def _vectors(node: Vector) -> list[Vector]:
    return [arg for arg in node.args if arg.domain == Domain.ELEMENT]


def _some(flags: list[Flags]) -> Flags:
    return np.asarray(np.any(flags, axis=0), dtype=bool)


def _inside(node: Vector, layout: Layout) -> Flags:
    """Which entries `only` or `without` leaves."""
    return np.asarray((node.option("rule").values(layout) != 0) == node.option("inside"))


def _used(node: Vector, arg: Vector, facts: Facts, layout: Layout) -> Flags:
    """Where an operation looks at its operand: everywhere, but for the branches of a choice that names decide."""
    if node.op != "where" or node.args[0] not in facts.static:
        return np.ones(len(layout), dtype=bool)
    mask = facts.static[node.args[0]] != 0
    return _some([chosen for chosen, branch in ((mask, node.args[1]), (~mask, node.args[2])) if branch is arg])


def _missing(node: Vector, whole: Vector, facts: Facts, meeting: Flags, layout: Layout) -> LayoutError:
    entries = np.flatnonzero(meeting)
    part = _part_below(node, facts, int(entries[0]))
    tensors = listed([f"`{layout.names[entry]}`" for entry in entries], 1)
    other = str(whole) if whole.op == "input" else "x"
    overlaid = "" if part.is_mask else f"overlay({other}, {part}) has those of {part} and the rest of {other}; "
    return LayoutError(
        f"`{brief(node)}` needs the tensor {tensors}, which the part `{part}` lacks",
        hint=f'{overlaid}only({other}, "{_pattern(part)}") is narrowed to the part',
    )


def _part_below(node: Vector, facts: Facts, entry: int) -> Vector:
    """The part whose gap it is."""
    return next(below for below in topological([node]) if below.source is not None and facts.gaps[below][entry])


def _pattern(part: Vector) -> str:
    """The prefix that all names of a part share, as a pattern."""
    assert part.source is not None
    names = part.source.layout.names
    first, last = names[0], names[-1]  # of names in order these share the least
    shared = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return f"{first[: first.rfind('.', 0, shared) + 1]}*"
