"""Which operations of a program become one loop of machine code: neighbours that go element by element.

What only its loop needs has no register: neither what lies between two operations, nor an input as numbers. A loop ends
where another step must see its values, and after a few inputs, which are still in the processor's cache then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from weightmath.algebra.graph import Vector
from weightmath.kernels import loops, machine
from weightmath.scope import Domain

WORTH_FUSING = 1 << 24  # elements that are computed alike: to make a loop takes as long as it saves for so many
_MOST_ARRAYS = 4  # that a loop reads
_MOST_LINES = 100  # which a compiler takes 30 ms for

Below = Callable[[Vector], tuple[Vector, ...]]  # the operands of a node


def is_worth(elements: int) -> bool:
    """Whether so many are computed sooner by a loop that is yet to be made."""
    return elements >= WORTH_FUSING and machine.compiler() is not None


@dataclass(frozen=True)
class Fused:
    """Operations of one loop.

    inputs      inputs that it reads as they are stored
    others      what else it takes: numbers, and values that have registers
    lines       its operations, operands first, each with what it takes
    results     those of inputs and lines that other steps need
    """

    inputs: tuple[Vector, ...]
    others: tuple[Vector, ...]
    lines: tuple[tuple[Vector, tuple[Vector, ...]], ...]
    results: tuple[Vector, ...]

    def loop(self, stored: Sequence[str], dtype: str) -> loops.Loop:
        """The loop for a compute dtype, and for inputs and others that are stored like this."""
        made = (node for node, _ in self.lines)
        places = {node: place for place, node in enumerate((*self.inputs, *self.others, *made))}
        lines = tuple(_line(node, [places[arg] for arg in args]) for node, args in self.lines)
        return loops.Loop(dtype, tuple(stored), lines, tuple(places[node] for node in self.results))


def _line(node: Vector, args: Sequence[int]) -> tuple[str, tuple[int, ...]]:
    if node.op != "power":
        return node.op, tuple(args)
    return ("multiply", (args[0], args[0])) if _exponent(node) == 2 else ("sqrt", (args[0],))


def _exponent(node: Vector) -> float | None:
    exponent: float | None = node.args[1].option("value") if node.args[1].op == "constant" else None
    return exponent


def fuse(
    order: Sequence[Vector], below: Below, pinned: Collection[Vector], is_read_stored: Callable[[Vector], bool]
) -> list[Vector | Fused]:
    """The steps of a program, in order, with loops for what can be in one.

    pinned           nodes whose values are needed by what follows the steps
    is_read_stored   whether a loop may read this input as it is stored
    """
    found: list[Vector | _Run] = []
    run: _Run = {}
    arrays: set[Vector] = set()  # that the run reads
    for node in order:
        taken = below(node)
        if _is_line(node, taken) or (node.op == "input" and is_read_stored(node)):
            read = _read(node, taken, run)
            if len(arrays | read) > _MOST_ARRAYS or len(run) == _MOST_LINES:
                found.append(run)
                run, arrays = {}, set()
                read = _read(node, taken, run)
            run[node] = taken
            arrays |= read
        else:
            if not run.keys().isdisjoint(taken):
                found.append(run)
                run, arrays = {}, set()
            found.append(node)
    found.append(run)
    home = {node: number for number, each in enumerate(found) if isinstance(each, dict) for node in each}
    needed = {arg for node in order for arg in below(node) if home.get(arg) != home.get(node)}.union(pinned)
    steps: list[Vector | Fused] = []
    for each in found:
        if isinstance(each, Vector):
            steps.append(each)
        elif any(each.values()):
            steps.append(_fused(each, needed))
        else:  # inputs alone
            steps += each
    return steps


_Run = dict[Vector, tuple[Vector, ...]]  # nodes, and what each takes: inputs nothing


def _is_line(node: Vector, taken: Sequence[Vector]) -> bool:
    if node.static or node.domain != Domain.ELEMENT or any(arg.domain == Domain.ROW for arg in taken):
        return False
    return node.op in loops.OPERATIONS or (node.op == "power" and _exponent(node) in (2, 0.5))


def _read(node: Vector, taken: Sequence[Vector], run: _Run) -> set[Vector]:
    """The arrays that a run reads for a node which joins it."""
    if node.op == "input":
        return {node}
    return {arg for arg in taken if arg.domain == Domain.ELEMENT and arg not in run}


def _fused(run: _Run, needed: Collection[Vector]) -> Fused:
    inputs = tuple(node for node in run if node.op == "input")
    lines = tuple((node, taken) for node, taken in run.items() if node.op != "input")
    others = dict.fromkeys(arg for taken in run.values() for arg in taken if arg not in run)
    return Fused(inputs, tuple(others), lines, tuple(node for node in run if node in needed))
