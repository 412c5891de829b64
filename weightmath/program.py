"""A group of tensors and what is wanted of them become a program: a list of steps over registers.

Steps run one after another on one chunk, in place where they can: no step allocates an array of a chunk's size. What a
tensor's names and shapes decide is decided here, once for the group: a factor that is 0 drops the vector it
multiplies (and the reading of it), a factor of 1 drops the multiplication, a mask by name picks one branch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from weightmath.formulas import FORMULAS
from weightmath.graph import ALIASES, Vector, constant
from weightmath.kernels import random, whole
from weightmath.kernels.bracket import mask_tile
from weightmath.kernels.elementwise import IN_PLACE, KERNELS, select
from weightmath.kernels.reduce import REDUCTIONS
from weightmath.kernels.scratch import borrow
from weightmath.kernels.select import (
    descending,
    keep_count,
    key_dtype,
    magnitude_keys,
    mask_rows,
    threshold_rows,
    value_keys,
)
from weightmath.kernels.solvers import solve
from weightmath.plan import STATISTICS, WHOLE_TENSOR, Output, Plan, is_inline
from weightmath.scope import Domain, tile
from weightmath.tables import Tables, quantile_of

ZERO = constant(0.0)


@dataclass(frozen=True)
class Piece:
    """A run of whole tiles of one tensor within a chunk."""

    entry: int
    first_tile: int
    last_tile: int  # the last one included
    start: int  # elements, counted within the tensor
    stop: int
    row: int  # the first row


@dataclass
class Frame:
    """What one worker holds while it computes one chunk: a piece of one tensor, or several small tensors whole."""

    plan: Plan
    tables: Tables
    io: Any
    pieces: Sequence[Piece] = ()
    shape: tuple[int, int] = (0, 0)
    dtype: np.dtype = field(default_factory=lambda: np.dtype(np.float32))
    values: list[Any] = field(default_factory=list)

    def register(self, number: int) -> np.ndarray:
        """The array of that number, in the chunk's shape."""
        return borrow(f"register.{number}", self.shape, self.dtype)

    def per_piece(self, values: Sequence[float]) -> Any:
        """One number per piece, as an operand: a number, or one number for each element."""
        if len(set(values)) == 1:
            return values[0]
        # In float64: what statistics are multiplied with must not depend on who shares the chunk.
        return np.repeat(np.array(values), [piece.stop - piece.start for piece in self.pieces])[None, :]

    def spans(self) -> list[tuple[Piece, slice]]:
        """Where each piece lies in the flat chunk."""
        spans, at = [], 0
        for piece in self.pieces:
            spans.append((piece, slice(at, at + piece.stop - piece.start)))
            at += piece.stop - piece.start
        return spans


Step = Callable[[Frame], None]
Feed = tuple[Vector, Callable[[int], Step]]  # a vector, and what makes the step that takes it from its slot


@dataclass(frozen=True, eq=False)
class Program:
    """Steps for one group and round."""

    steps: tuple[Step, ...]
    slots: int
    registers: int
    packable: bool  # whether several small tensors may share a chunk
    completes: tuple[Vector, ...]  # statistics whose entry is complete when all its chunks are done

    def run(self, frame: Frame) -> None:
        """Compute one chunk."""
        frame.values = [None] * self.slots
        for step in self.steps:
            step(frame)


class Compiler:
    """Compiles what is wanted of one group of tensors; `entry` stands for all of them."""

    def __init__(self, plan: Plan, entry: int, known: frozenset[Vector]) -> None:
        self.plan = plan
        self.entry = entry
        self.shape = plan.layout.entries[entry]
        self.known = known
        self._resolved: dict[Vector, Vector] = {}
        for node in plan.nodes:  # operands first: a sum of thousands of terms is no recursion
            self.resolve(node)

    # --- what the names and shapes decide

    def resolve(self, node: Vector) -> Vector:
        """The node that computes this node's values here; ZERO where they are 0."""
        found = self._resolved.get(node)
        if found is None:
            found = self._resolved[node] = self._resolve(node)
        return found

    def _resolve(self, node: Vector) -> Vector:
        if node.domain == Domain.ELEMENT and not self._present(node):
            return ZERO
        if node.op == "overlay":
            return self.resolve(node.args[1] if self._present(node.args[1]) else node.args[0])
        if node.op in ALIASES:
            return self.resolve(node.args[0])
        if node.op == "multiply":
            return self._resolve_product(node)
        if node.op in ("add", "subtract") and node.domain == Domain.ELEMENT:
            a, b = map(self.resolve, node.args)
            if b is ZERO and a.domain == Domain.ELEMENT:
                return a
            if a is ZERO and node.op == "add" and b.domain == Domain.ELEMENT:
                return b
        if node.op == "where" and self._static(node.args[0]) is not None:
            return self.resolve(node.args[1] if self._static(node.args[0]) else node.args[2])
        return node

    def _resolve_product(self, node: Vector) -> Vector:
        if node.domain < Domain.ELEMENT:
            return node
        a, b = node.args
        for factor, other in ((a, b), (b, a)):
            if self._static(factor) == 0 or self.resolve(factor) is ZERO:
                return ZERO
            if self._static(factor) == 1 and other.domain == Domain.ELEMENT:
                return self.resolve(other)
        return node

    def _present(self, node: Vector) -> bool:
        return bool(self.plan.facts.present[node][self.entry])

    def _static(self, node: Vector) -> float | None:
        values = self.plan.facts.static.get(node)
        return None if values is None else float(values[self.entry])

    def inline(self, node: Vector) -> bool:
        """Whether a statistic or whole-tensor value is worked out in the chunk itself."""
        return is_inline(node, self.shape)

    def below(self, node: Vector) -> tuple[Vector, ...]:
        """Operands that must be computed here before this node."""
        if node.static or (self.stored(node)):
            return ()
        if node.op in ("keep", "largest_mask"):
            return (self.resolve(node.args[0]), node.args[1])
        return tuple(self.resolve(arg) for arg in _operands(node))

    def stored(self, node: Vector) -> bool:
        """Whether the node's value is looked up: a statistic, or a whole tensor, that an earlier round worked out."""
        return node.op in (*STATISTICS, *WHOLE_TENSOR) and (node in self.known or not self.inline(node))

    def rounds(
        self,
        folds: Sequence[Vector],
        outputs: Sequence[Output],
        kept: Sequence[Vector],
        feeds: Sequence[Feed],
    ) -> tuple[Program, ...]:
        """One program per round: statistics of the tensor by their level, then all that is wanted of it."""
        templates = [output.template for output in outputs if output.template is not None]
        fed = [argument for argument, _ in feeds]
        roots = [*(arg for node in folds for arg in node.args), *(o.value for o in outputs), *templates, *fed, *kept]
        levels = self._levels(roots)
        count = max((levels[self.resolve(root)] for root in roots), default=0)
        local = [
            [node for node in levels if levels[node] == level and self._is_round(node)] for level in range(1, count + 1)
        ]
        here = [node for node in kept if self.inline(node)]
        return (*(self._compile(nodes) for nodes in local), self._compile(folds, outputs, here, feeds))

    def _levels(self, roots: Sequence[Vector]) -> dict[Vector, int]:
        """For each node that the roots need, the round in which it can be used; 0 is at once."""
        levels: dict[Vector, int] = {}
        for node in self._walk(roots, self._needs):
            level = max((levels[self.resolve(arg)] for arg in self._needs(node)), default=0)
            levels[node] = level + self._is_round(node)
        return levels

    def _is_round(self, node: Vector) -> bool:
        if node in self.known or node.static:
            return False
        if node.op in WHOLE_TENSOR:
            return not self.inline(node)
        return node.op in STATISTICS and self.plan.local(node, self.entry) and not self.inline(node)

    def _needs(self, node: Vector) -> tuple[Vector, ...]:
        if node.static or node in self.known or (node.op in STATISTICS and not self.plan.local(node, self.entry)):
            return ()
        return _operands(node)

    def _walk(self, targets: Sequence[Vector], below: Callable[[Vector], Sequence[Vector]]) -> list[Vector]:
        """Resolved nodes below the targets, operands first."""
        order: dict[Vector, None] = {}
        stack = [(self.resolve(target), False) for target in reversed(targets)]
        while stack:
            node, ready = stack.pop()
            if ready:
                order[node] = None
            elif node not in order:
                stack.append((node, True))
                stack += [(self.resolve(arg), False) for arg in reversed(below(node))]
        return list(order)

    # --- steps

    def _compile(
        self,
        statistics: Sequence[Vector],
        outputs: Sequence[Output] = (),
        kept: Sequence[Vector] = (),
        feeds: Sequence[Feed] = (),
    ) -> Program:
        """The program that feeds these statistics, keeps these inline ones, and writes these outputs."""
        ends = [arg for node in statistics for arg in _operands(node)]
        templates = [output.template for output in outputs if output.template is not None]
        fed = [argument for argument, _ in feeds]
        order = self._walk([*ends, *fed, *kept, *(o.value for o in outputs), *templates], self.below)
        slots = {node: slot for slot, node in enumerate(order)}
        pinned = {self.resolve(node) for node in (*ends, *fed, *kept, *(o.value for o in outputs), *templates)}
        registers = _allocate(order, self.below, pinned)
        steps = [self._step(node, slots, registers) for node in order]

        def slot(node: Vector) -> int:
            return slots[self.resolve(node)]

        steps += [self._feed(node, slot) for node in statistics]
        steps += [_keep(node, slot(node)) for node in kept]
        steps += [step(slot(argument)) for argument, step in feeds]
        steps += [_write(o, slot(o.value), None if o.template is None else slot(o.template)) for o in outputs]
        alone = [node for node in order if self._is_alone(node)] or [node for node in statistics if not _is_fold(node)]
        count = max(registers.values(), default=-1) + 1
        return Program(tuple(steps), len(order), count, not alone, tuple(statistics))

    def _is_alone(self, node: Vector) -> bool:
        """Whether a node's value is an array or number of one tensor, so that tensors cannot share a chunk."""
        if node.op in ("gram", "coefficients"):
            return True
        if node.static or (not self.inline(node) and not self.plan.local(node, self.entry)):
            return False
        return node.op in (*STATISTICS, *WHOLE_TENSOR) or node.domain == Domain.ROW

    def _step(self, node: Vector, slots: dict[Vector, int], registers: dict[Vector, int]) -> Step:
        out = slots[node]
        args = [slots[arg] for arg in self.below(node)]
        register = registers.get(node, -1)
        if node.static:
            return _static(node, out)
        if self.stored(node):
            return _stored(node, out)
        if node.op == "input":
            return _read(node, out, register)
        if node.op in ("random", "bernoulli"):
            return _draw(node, out, register, args)
        if node.op in ("keep", "largest_mask"):
            return _select(node, self.plan, out, register, args)
        if node.op in REDUCTIONS:
            return _reduce_inline(node, out, args)
        if node.op in ("cut", "quantile"):
            return _select_inline(node, self.plan, out, args)
        if node.op == "coefficients":
            return _solve(node, out, args)
        if node.op == "item":
            return _item(node, out, args)
        if node.op in WHOLE_TENSOR:
            return _matrix_inline(node, out, register, args)
        if node.domain < Domain.ELEMENT:
            return _fold(node, out, args)
        return _apply(node, out, register, args)

    def _feed(self, node: Vector, slot: Callable[[Vector], int]) -> Step:
        if node.op in REDUCTIONS:
            return _accumulate(node, [slot(arg) for arg in node.args])
        return _gather(node, [slot(arg) for arg in _operands(node)])


def _operands(node: Vector) -> tuple[Vector, ...]:
    """What is streamed into a node; a cut's density is known beforehand."""
    return node.args[:1] if node.op == "cut" else node.args


def _is_fold(node: Vector) -> bool:
    return node.op in REDUCTIONS


def _allocate(
    order: Sequence[Vector], below: Callable[[Vector], tuple[Vector, ...]], pinned: set[Vector]
) -> dict[Vector, int]:
    """Registers for element values, reused once their last reader is done; in place where the kernel allows it."""
    last: dict[Vector, int] = {}
    for place, node in enumerate(order):
        for arg in below(node):
            last[arg] = place
    registers: dict[Vector, int] = {}
    free: list[int] = []
    count = 0
    for place, node in enumerate(order):
        dying = [
            arg for arg in dict.fromkeys(below(node)) if last[arg] == place and arg in registers and arg not in pinned
        ]
        early = node.op in IN_PLACE
        if early:
            free += [registers[arg] for arg in dying]
        if node.domain == Domain.ELEMENT and not node.static:
            if free:
                registers[node] = free.pop()
            else:
                registers[node] = count
                count += 1
        if not early:
            free += [registers[arg] for arg in dying]
    return registers


# --- the steps: each makes a function of a frame


def _static(node: Vector, out: int) -> Step:
    if node.op == "constant":
        number = float(node.option("value"))

        def known(frame: Frame) -> None:
            frame.values[out] = number

        return known

    def look_up(frame: Frame) -> None:
        values = frame.plan.facts.static[node]
        frame.values[out] = frame.per_piece([float(values[piece.entry]) for piece in frame.pieces])

    return look_up


def _stored(node: Vector, out: int) -> Step:
    def look_up(frame: Frame) -> None:
        value = [frame.tables.value(node, piece.entry) for piece in frame.pieces]
        if node.op == "cut":
            frame.values[out] = value
        elif node.op in WHOLE_TENSOR:
            piece = frame.pieces[0]
            frame.values[out] = value[0][piece.start : piece.stop].reshape(frame.shape)
        elif node.domain == Domain.ROW:
            of_row = value[0][frame.pieces[0].row]
            frame.values[out] = float(of_row) if np.ndim(of_row) == 0 else of_row
        else:
            frame.values[out] = frame.per_piece(value) if isinstance(value[0], float) else value[0]

    return look_up


def _read(node: Vector, out: int, register: int) -> Step:
    def read(frame: Frame) -> None:
        values = frame.register(register)
        flat = values.reshape(-1)
        for piece, span in frame.spans():
            frame.io.read(node, piece, flat[span])
        if node.is_mask:
            truth = borrow("program.truth", values.shape, bool)
            np.copyto(values, np.not_equal(values, 0, out=truth))
        frame.values[out] = values

    return read


def _operand(frame: Frame, slot: int) -> Any:
    """A value as an operand of an element kernel: statistics per row rounded once to the compute dtype."""
    value = frame.values[slot]
    if isinstance(value, float) or value.dtype == frame.dtype:
        return value
    return value.astype(frame.dtype)


def _apply(node: Vector, out: int, register: int, args: Sequence[int]) -> Step:
    kernel = KERNELS[node.op]

    def apply(frame: Frame) -> None:
        result = frame.register(register)
        kernel(result, *[_operand(frame, slot) for slot in args])
        frame.values[out] = result

    return apply


def _fold(node: Vector, out: int, args: Sequence[int]) -> Step:
    """Arithmetic of statistics, in float64."""
    formula = FORMULAS[node.op]

    def fold(frame: Frame) -> None:
        value = formula(*[frame.values[slot] for slot in args])
        frame.values[out] = float(value) if np.ndim(value) == 0 else value

    return fold


def _elements(frame: Frame, slot: int) -> np.ndarray:
    """A value as one number per element: reducing a statistic counts elements."""
    value = frame.values[slot]
    if isinstance(value, np.ndarray) and value.shape == frame.shape:
        return value
    return np.broadcast_to(np.asarray(value), frame.shape)


def _draw(node: Vector, out: int, register: int, args: Sequence[int]) -> Step:
    draw = node.option("draw", "bernoulli")

    def step(frame: Frame) -> None:
        values = frame.register(register)
        flat = values.reshape(-1)
        for piece, span in frame.spans():
            name = frame.plan.layout.entries[piece.entry].name
            key = random.key(node.option("seed"), draw, node.option("label"), name)
            if draw == "bernoulli":
                chance = frame.values[args[0]]
                if not isinstance(chance, float):
                    chance = np.broadcast_to(chance, frame.shape).reshape(-1)[span]
                flat[span] = random.bernoulli(key, piece.start, piece.stop, chance)
            else:
                getattr(random, draw)(key, piece.start, piece.stop, frame.dtype, out=flat[span])
        frame.values[out] = values

    return step


def _cells(node: Vector, values: np.ndarray) -> np.ndarray:
    """The chunk as (cells, elements): rows, or the whole tensor as one cell."""
    return values if node.domain == Domain.ROW else values.reshape(1, -1)


def _reduce_inline(node: Vector, out: int, args: Sequence[int]) -> Step:
    reduction = REDUCTIONS[node.op]

    def reduce(frame: Frame) -> None:
        finished = reduction.finish(reduction.partial(*[_cells(node, _elements(frame, slot)) for slot in args]))
        if node.domain == Domain.ROW:
            frame.values[out] = finished[:, None] if finished.ndim == 1 else finished
        else:
            frame.values[out] = float(finished[0]) if finished.ndim == 1 else finished[0]

    return reduce


def keys_of(node: Vector, frame: Frame, slot: int) -> np.ndarray:
    """The keys that a selection orders the values in a slot by, in the chunk's shape; in memory that is reused."""
    dtype = frame.plan.key_dtype(node, frame.pieces[0].entry)
    values = np.ascontiguousarray(_elements(frame, slot), dtype=dtype)
    keys = borrow("program.keys", values.shape, key_dtype(dtype))
    if node.op == "quantile":
        return value_keys(values, out=keys)
    magnitude_keys(values, out=keys)
    return descending(keys, out=keys) if node.option("order") == "smallest" else keys


def _select_inline(node: Vector, plan: Plan, out: int, args: Sequence[int]) -> Step:
    def select_inline(frame: Frame) -> None:
        keys = _cells(node, keys_of(node, frame, args[0]))
        if node.op == "quantile":
            values = quantile_of(keys, node.option("q"))
            frame.values[out] = values[:, None] if node.domain == Domain.ROW else float(values[0])
        else:
            density = float(plan.facts.static[node.args[1]][frame.pieces[0].entry])
            frame.values[out] = threshold_rows(keys, keep_count(density, keys.shape[1]))

    return select_inline


def _select(node: Vector, plan: Plan, out: int, register: int, args: Sequence[int]) -> Step:
    """keep and largest_mask: what a cut says of each element."""
    cut_node = node.args[1]

    def step(frame: Frame) -> None:
        values = _elements(frame, args[0])
        result = frame.register(register)
        mask = borrow("program.mask", frame.shape, bool)
        cut = frame.values[args[1]]
        keys = keys_of(cut_node, frame, args[0])
        if isinstance(cut, tuple):
            mask_rows(_cells(cut_node, keys), cut[0], cut[1], _cells(cut_node, mask))
        else:
            _mask_stored(cut_node, frame, keys.reshape(-1), cut, mask.reshape(-1))
        if node.op == "keep":
            select(result, np.ascontiguousarray(values, dtype=frame.dtype), mask)
        else:
            np.copyto(result, mask)
        frame.values[out] = result

    return step


def _mask_stored(cut_node: Vector, frame: Frame, keys: np.ndarray, cuts: Sequence[Any], mask: np.ndarray) -> None:
    for (piece, span), cut in zip(frame.spans(), cuts, strict=True):
        entry = frame.plan.layout.entries[piece.entry]
        base = 0 if frame.plan.local(cut_node, piece.entry) else frame.plan.tile_base[piece.entry]
        at = span.start
        for number in range(piece.first_tile, piece.last_tile + 1):
            one = tile(entry, number)
            here = slice(at, at + one.stop - one.start)
            of_row = cut[one.row if cut_node.domain == Domain.ROW else 0] if isinstance(cut, list) else cut
            mask_tile(keys[here], of_row, base + number, mask[here])
            at = here.stop


def _solve(node: Vector, out: int, args: Sequence[int]) -> Step:
    def step(frame: Frame) -> None:
        gram, *numbers = (frame.values[slot] for slot in args)
        frame.values[out] = solve(node, gram, numbers)

    return step


def _item(node: Vector, out: int, args: Sequence[int]) -> Step:
    index = node.option("index")

    def item(frame: Frame) -> None:
        column = frame.values[args[0]][:, index]
        frame.values[out] = float(column[0]) if node.domain != Domain.ROW else column[:, None]

    return item


def _matrix_inline(node: Vector, out: int, register: int, args: Sequence[int]) -> Step:
    def step(frame: Frame) -> None:
        shape = frame.plan.layout.entries[frame.pieces[0].entry].shape
        here = (frame.shape[0], *shape[1:]) if len(shape) > 1 else shape  # all rows, or those of the chunk
        operands = [_elements(frame, slot).reshape(here) for slot in args]
        result = frame.register(register)
        np.copyto(result, whole.evaluate(node, operands).reshape(frame.shape), casting="same_kind")
        frame.values[out] = result

    return step


def _accumulate(node: Vector, args: Sequence[int]) -> Step:
    """Partial states of a statistic, tile by tile."""
    partial = REDUCTIONS[node.op].partial

    def accumulate(frame: Frame) -> None:
        flats = [np.ascontiguousarray(_elements(frame, slot)).reshape(1, -1) for slot in args]
        for piece, span in frame.spans():
            entry = frame.plan.layout.entries[piece.entry]
            states = frame.tables.states(node, piece.entry)
            at = span.start
            for number in range(piece.first_tile, piece.last_tile + 1):
                one = tile(entry, number)
                size = one.stop - one.start
                states[number] = partial(*[flat[:, at : at + size] for flat in flats])[0]
                at += size

    return accumulate


def _gather(node: Vector, args: Sequence[int]) -> Step:
    """Whole tensors, or their keys, for what must see them at once."""

    def gather(frame: Frame) -> None:
        piece = frame.pieces[0]
        for position, arg in enumerate(args):
            keys = _elements(frame, arg) if node.op in WHOLE_TENSOR else keys_of(node, frame, arg)
            whole = frame.tables.gathered(node, piece.entry, position, keys.dtype)
            whole[piece.start : piece.stop] = keys.reshape(-1)

    return gather


def _keep(node: Vector, slot: int) -> Step:
    def keep(frame: Frame) -> None:
        # A statistic of one tensor or row shares its chunk with no other tensor.
        piece = frame.pieces[0]
        if node.domain == Domain.ROW:
            frame.tables.keep_rows(node, piece.entry, piece.row, np.asarray(frame.values[slot]))
        else:
            frame.tables.keep(node, piece.entry, frame.values[slot])

    return keep


def _write(output: Output, slot: int, template: int | None) -> Step:
    def write(frame: Frame) -> None:
        values = _elements(frame, slot)
        before = None if template is None else _elements(frame, template).reshape(-1)
        flat = np.ascontiguousarray(values, dtype=frame.dtype).reshape(-1)
        for piece, span in frame.spans():
            frame.io.write(output, piece, flat[span], None if before is None else before[span])

    return write
