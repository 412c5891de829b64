"""Steps: each makes, of a node and the places of its values, a function that computes it in a frame.

No step allocates an array of a chunk's size; what it needs besides registers it borrows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

import numpy as np

from weightmath.algebra.formulas import FORMULAS, UFUNCS
from weightmath.algebra.graph import Vector
from weightmath.engine.frame import Bound, Call, Frame, Home, Raw, Slots, Step
from weightmath.engine.fusing import Fused
from weightmath.engine.plan import WHOLE_TENSOR, Output
from weightmath.engine.selecting import cells_of
from weightmath.engine.traces import Kept, KeptRows, States
from weightmath.kernels import loops, random, whole
from weightmath.kernels.elementwise import KERNELS
from weightmath.kernels.reduce import REDUCTIONS
from weightmath.kernels.scratch import borrow
from weightmath.kernels.solvers import solve
from weightmath.scope import Domain


def static(node: Vector, at: Slots) -> Step:
    """One number for each tensor of the chunk."""

    def look_up(frame: Frame) -> None:
        values = frame.plan.facts.static[node]
        frame.values[at.out] = frame.per_piece([float(values[piece.entry]) for piece in frame.pieces])

    return look_up


def stored(node: Vector, at: Slots) -> Step:
    """A statistic, cut or whole tensor that the tables hold."""

    def look_up(frame: Frame) -> None:
        values = [frame.tables.value(node, piece.entry) for piece in frame.pieces]
        first = frame.pieces[0]
        if node.op == "cut":
            frame.values[at.out] = values
        elif node.op in WHOLE_TENSOR:
            frame.values[at.out] = values[0][first.start : first.stop].reshape(frame.shape)
        elif node.domain == Domain.ROW:
            of_row = values[0][first.row]
            frame.values[at.out] = float(of_row) if np.ndim(of_row) == 0 else of_row
        else:
            frame.values[at.out] = frame.per_piece(values) if isinstance(values[0], float) else values[0]

    return look_up


def read(node: Vector, at: Slots, *, is_template: bool = False) -> Step:
    """An input, read and converted; truth values become 0 and 1. A template is also kept as it is stored."""
    slot = f"steps.stored.{at.out}" if is_template else "steps.in"
    is_mask = node.is_mask

    def bind(frame: Frame) -> Call:
        values = frame.values[at.out]
        stored, fill = frame.io.reading(node, frame.spans, values.reshape(-1), slot)
        if is_template:
            frame.stored[at.out] = stored

        def call() -> None:
            fill(frame.spans)
            frame.nbytes += stored.bits.nbytes
            if is_mask:
                truth = borrow("steps.truth", values.shape, bool)
                np.copyto(values, np.not_equal(values, 0, out=truth))

        return call

    return Bound(bind)


def read_stored(node: Vector, slot: int, memory: str) -> Step:
    """An input, read as it is stored into borrowed memory."""

    def bind(frame: Frame) -> Call:
        size = frame.shape[0] * frame.shape[1]
        stored, fill = frame.io.reading_stored(node, frame.spans, size, memory)
        frame.stored[slot] = stored

        def call() -> None:
            fill(frame.spans)
            frame.nbytes += stored.bits.nbytes

        return call

    return Bound(bind)


def fused(run: Fused, slots: Mapping[Vector, int], homes: Sequence[Home]) -> Step:
    """Operations as one loop."""

    def bind(frame: Frame) -> Call:
        inputs = [frame.stored[slots[node]] for node in run.inputs]
        results = [frame.values[slots[node]] for node in run.results]
        others = [slots[node] for node in run.others]

        loop_for = cache(partial(run.loop, dtype=frame.dtype.name))  # of a few ways to store the operands

        def ready() -> Call:
            values = [frame.operand(slot) for slot in others]
            stored = (loops.NUMBER if isinstance(value, float) else value.dtype.name for value in values)
            loop = loop_for((*(raw.dtype.name for raw in inputs), *stored))
            return loops.bound(loop, [*(raw.bits for raw in inputs), *values], results)

        if all(homes[slot] is not None for slot in others):
            return ready()
        return lambda: ready()()  # noqa: PLW0108  (of the values as they are then)

    return Bound(bind)


def apply(node: Vector, at: Slots) -> Step:
    """An operation element by element."""
    kernel = KERNELS[node.op]

    def step(frame: Frame) -> None:
        kernel(frame.values[at.out], *[frame.operand(slot) for slot in at.args])

    def bind(frame: Frame) -> Call:
        operands = [frame.values[slot] for slot in at.args]
        if node.op in UFUNCS:
            return partial(UFUNCS[node.op], *operands, out=frame.values[at.out])
        return partial(kernel, frame.values[at.out], *operands)

    return Bound(bind) if at.plain else step


def fold(node: Vector, at: Slots) -> Step:
    """Arithmetic of statistics, in float64."""
    formula = FORMULAS[node.op]

    def step(frame: Frame) -> None:
        value = formula(*[frame.values[slot] for slot in at.args])
        frame.values[at.out] = float(value) if np.ndim(value) == 0 else value

    return step


def draw(node: Vector, at: Slots) -> Step:
    """Random numbers of each tensor's own stream."""
    make = getattr(random, node.option("draw"))

    def step(frame: Frame) -> None:
        flat = frame.values[at.out].reshape(-1)
        for piece, span in frame.spans:
            key = _key(node, node.option("draw"), frame, piece.entry)
            make(key, piece.start, piece.stop, frame.dtype, flat[span], loops=frame.loops)

    return step


def bernoulli(node: Vector, at: Slots) -> Step:
    """A random mask with one probability, or one per element."""

    def step(frame: Frame) -> None:
        flat = frame.values[at.out].reshape(-1)
        chance = frame.values[at.args[0]]
        for piece, span in frame.spans:
            own = chance if isinstance(chance, float) else np.broadcast_to(chance, frame.shape).reshape(-1)[span]
            key = _key(node, "bernoulli", frame, piece.entry)
            flat[span] = random.bernoulli(key, piece.start, piece.stop, own, loops=frame.loops)

    return step


def _key(node: Vector, function: str, frame: Frame, entry: int) -> int:
    return random.key(node.option("seed"), function, node.option("label"), frame.plan.layout.names[entry])


def reduce_cells(node: Vector, at: Slots) -> Step:
    """A statistic of each cell within the chunk."""
    reduction = REDUCTIONS[node.op]

    def step(frame: Frame) -> None:
        finished = reduction.finish(reduction.partial(*[cells_of(node, frame.elements(slot)) for slot in at.args]))
        if node.domain == Domain.ROW:
            frame.values[at.out] = finished[:, None] if finished.ndim == 1 else finished
        else:
            frame.values[at.out] = float(finished[0]) if finished.ndim == 1 else finished[0]

    return step


def coefficients(node: Vector, at: Slots) -> Step:
    """What a solver makes of a Gram matrix."""

    def step(frame: Frame) -> None:
        gram, *numbers = (frame.values[slot] for slot in at.args)
        frame.values[at.out] = solve(node, gram, numbers)

    return step


def item(node: Vector, at: Slots) -> Step:
    """One of several coefficients."""

    def step(frame: Frame) -> None:
        column = frame.values[at.args[0]][:, node.option("index")]
        frame.values[at.out] = float(column[0]) if node.domain != Domain.ROW else column[:, None]

    return step


def whole_tensor(node: Vector, at: Slots) -> Step:
    """A function of a whole tensor, or of whole rows, that is within the chunk."""

    def step(frame: Frame) -> None:
        shape = frame.plan.layout.entries[frame.pieces[0].entry].shape
        here = (frame.shape[0], *shape[1:]) if len(shape) > 1 else shape  # all rows, or those of the chunk
        operands = [frame.elements(slot).reshape(here) for slot in at.args]
        np.copyto(frame.values[at.out], whole.evaluate(node, operands).reshape(frame.shape), casting="same_kind")

    return step


# --- steps that hand values on


def accumulate(node: Vector, at: Slots) -> Step:
    """Partial states of a statistic, tile by tile."""
    partial = REDUCTIONS[node.op].partial

    def ready(frame: Frame) -> Call:
        flats = [np.ascontiguousarray(frame.elements(slot)).reshape(-1) for slot in at.args]

        def call() -> None:
            # Rows do not depend on each other, and what a call costs counts.
            found = [partial(*[flat[here].reshape(count, -1) for flat in flats]) for here, count in frame.tile_rows()]
            states = found[0] if len(found) == 1 else np.concatenate(found)
            done = 0
            for piece in frame.pieces:
                count = piece.last_tile + 1 - piece.first_tile
                frame.traces.append(States(node, piece.entry, piece.first_tile, states[done : done + count]))
                done += count

        return call

    return Bound(ready) if at.plain else _anew(ready)


def gather(node: Vector, at: Slots) -> Step:
    """Whole tensors, for what must see them at once."""

    def step(frame: Frame) -> None:
        piece = frame.pieces[0]
        for position, slot in enumerate(at.args):
            values = frame.elements(slot)
            gathered = frame.tables.gathered(node, piece.entry, position, values.dtype)
            gathered[piece.start : piece.stop] = values.reshape(-1)

    return step


def remember(node: Vector, slot: int) -> Step:
    """A statistic within the chunk that `show` or `expect` asks for."""

    def step(frame: Frame) -> None:
        # A statistic of one tensor or row is never computed beside another tensor.
        piece = frame.pieces[0]
        if node.domain == Domain.ROW:
            frame.traces.append(KeptRows(node, piece.entry, piece.row, np.array(frame.values[slot])))
        else:
            frame.traces.append(Kept(node, piece.entry, frame.values[slot]))

    return step


def write(output: Output, slot: int, template: int | None, *, plain: bool) -> Step:
    """An output, with its template beside it: as it is stored, or as numbers where it is computed.

    plain   whether both are in arrays that stay where they are
    """

    def ready(frame: Frame) -> Call:
        flat = np.ascontiguousarray(frame.elements(slot), dtype=frame.dtype).reshape(-1)
        stored = None
        if template is not None:
            stored = frame.stored.get(template) or Raw.of(frame.elements(template).reshape(-1))
        write = frame.io.writing(output, flat, stored)

        def call() -> None:
            for written in write(frame.spans):
                frame.nbytes += written.nbytes
                frame.traces.append(written)

        return call

    return Bound(ready) if plain else _anew(ready)


def _anew(ready: Callable[[Frame], Call]) -> Step:
    """A step that is made ready for each chunk, as some of its operands are in no array that stays where it is."""
    return lambda frame: ready(frame)()
