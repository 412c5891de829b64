"""A group of tensors and what is wanted of them become a program: a list of steps over registers.

Steps run one after another on one chunk, in place where they can. What a tensor's names and shapes decide is decided
here, once for the group: a factor that is 0 drops the vector it multiplies (and the reading of it), a factor or divisor
of 1 drops the operation, a mask by name picks one branch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from weightmath.algebra.graph import ALIASES, Vector, constant
from weightmath.engine import selecting, steps
from weightmath.engine.frame import Bound, Call, Frame, Home, Slots, Step
from weightmath.engine.fusing import Fused, fuse, is_worth
from weightmath.engine.plan import (
    GATHER_LIMIT,
    PAIRWISE,
    REDUCTIONS,
    SELECTIONS,
    STATISTICS,
    WHOLE_TENSOR,
    Output,
    Plan,
    is_inline,
)
from weightmath.kernels import loops
from weightmath.kernels.elementwise import IN_PLACE
from weightmath.kernels.scratch import borrow
from weightmath.scope import Domain

ZERO = constant(0.0)
Feed = tuple[Vector, Callable[[int], Step]]  # a vector, and what makes the step that takes it from its slot

# Operations with a step of their own; all others are formulas.
_STEPS: Mapping[str, Callable[[Vector, Slots], Step]] = {
    "random": steps.draw,
    "bernoulli": steps.bernoulli,
    "keep": selecting.keep,
    "largest_mask": selecting.keep,
    "cut": selecting.cut,
    "quantile": selecting.quantile,
    **dict.fromkeys(REDUCTIONS, steps.reduce_cells),
    "coefficients": steps.coefficients,
    "item": steps.item,
    **dict.fromkeys(WHOLE_TENSOR, steps.whole_tensor),
}


@dataclass(frozen=True, eq=False)
class Program:
    """Steps for one group and round."""

    steps: tuple[Step, ...]
    homes: tuple[Home, ...]  # of the value of each slot
    registers: int
    packable: bool  # whether several small tensors may be computed as one array
    completes: tuple[Vector, ...]  # statistics whose entry is complete when all its chunks are done
    is_search: bool  # whether its selections are from a tensor that is too large to be held
    nodes: tuple[Vector, ...]  # what the steps compute or look up, operands first

    @property
    def is_light(self) -> bool:
        """Whether no whole tensors are held when it is through."""
        return not any(node.op in WHOLE_TENSOR for node in self.completes)

    @cached_property
    def selections(self) -> tuple[Vector, ...]:
        """What is selected from a tensor, which must come by whole."""
        return tuple(node for node in self.completes if node.op in SELECTIONS)

    @cached_property
    def reads(self) -> tuple[Vector, ...]:
        """The inputs."""
        return tuple(node for node in self.nodes if node.op == "input")

    def prepare(self, frame: Frame) -> list[Call]:
        """Make a frame ready for chunks of its shape; the calls that compute one, which the frame must not hold."""
        shape, dtype = frame.shape, frame.dtype
        frame.values = [borrow(home, shape, dtype) if isinstance(home, str) else home for home in self.homes]
        return [step.bind(frame) if isinstance(step, Bound) else partial(step, frame) for step in self.steps]


class Compiler:
    """Compiles what is wanted of one group of tensors; `entry` stands for all of them."""

    def __init__(self, plan: Plan, entry: int, known: frozenset[Vector], *, loops: bool = False) -> None:
        self.plan = plan
        self.entry = entry
        self.shape = plan.layout.entries[entry]
        self.known = known
        self.fuses = loops and is_worth(plan.group_sizes[plan.group_keys[entry]])
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
        if node.op == "divide" and self._static(node.args[1]) == 1 and node.args[0].domain == Domain.ELEMENT:
            return self.resolve(node.args[0])
        if node.op == "keep" and (density := self._static(node.args[1].args[1])) in (0, 1):
            return self.resolve(node.args[0]) if density else ZERO
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
        if node.static or self.stored(node):
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
        return node.op in STATISTICS and node.domain >= Domain.TENSOR and not self.inline(node)

    def _needs(self, node: Vector) -> tuple[Vector, ...]:
        if node.static or node in self.known or (node.op in STATISTICS and node.domain < Domain.TENSOR):
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
        compared = set(map(self.resolve, templates))
        lasting = [node for node in compared if not self._is_converted(node)]
        pinned = {self.resolve(node) for node in (*ends, *fed, *kept, *(o.value for o in outputs), *lasting)}
        planned = fuse(order, self.below, pinned, self._is_read_stored) if self.fuses else order
        registers = _allocate(planned, self.below, pinned)
        homes = tuple(None if self.stored(node) else _home(node, registers) for node in order)

        def slot(node: Vector) -> int:
            return slots[self.resolve(node)]

        def at(node: Vector) -> Slots:
            args = tuple(map(slot, self.below(node)))
            return Slots(slots[node], args, all(homes[arg] is not None for arg in args))

        made: list[Step] = []
        for each in planned:
            if isinstance(each, Fused):
                made += _loop(each, slots, homes, compared)
            elif each.op != "constant":
                made.append(self._step(each, at(each), each in compared))
        # Of inputs that are there as they are stored.
        stored = {slots[node] for each in planned if isinstance(each, Fused) for node in each.inputs}
        made += [
            _feed(number, node, tuple(map(slot, _operands(node))), homes, self.shape.size)
            for number, node in enumerate(statistics)
        ]
        made += [steps.remember(node, slot(node)) for node in kept]
        made += [step(slot(argument)) for argument, step in feeds]
        for output in outputs:
            value, template = slot(output.value), None if output.template is None else slot(output.template)
            places = (place for place in (value, template) if place is not None and place not in stored)
            plain = all(isinstance(homes[place], str) for place in places)
            made.append(steps.write(output, value, template, plain=plain))
        together = not any(map(self._is_alone, order)) and all(node.op in REDUCTIONS for node in statistics)
        count = len(set(registers.values()))
        is_search = self.shape.size > GATHER_LIMIT and any(node.op in SELECTIONS for node in statistics)
        return Program(tuple(made), homes, count, together, tuple(statistics), is_search, tuple(order))

    def _is_converted(self, node: Vector) -> bool:
        """Whether a node is an input that is stored in another dtype: a template is compared as it is stored."""
        stored = None if node.source is None else node.source.layout[self.shape.name].dtype
        return stored not in (None, self.plan.compute_dtypes[self.entry])

    def _is_alone(self, node: Vector) -> bool:
        """Whether a node's value is an array or number of one tensor, so that tensors cannot be one array."""
        if node.op in (*PAIRWISE, "coefficients"):
            return True
        if node.static or (not self.inline(node) and node.domain < Domain.TENSOR):
            return False
        return node.op in (*STATISTICS, *WHOLE_TENSOR) or node.domain == Domain.ROW

    def _is_read_stored(self, node: Vector) -> bool:
        """Whether a loop can read an input as it is stored: as numbers that are made wider."""
        assert node.source is not None
        stored = node.source.layout[self.shape.name].dtype
        is_narrower = stored.itemsize < self.plan.compute_dtypes[self.entry].itemsize
        return is_narrower and stored.name in loops.STORED and not node.is_mask

    def _step(self, node: Vector, at: Slots, is_template: bool) -> Step:
        if node.static:
            return steps.static(node, at)
        if self.stored(node):
            return steps.stored(node, at)
        if node.op == "input":
            return steps.read(node, at, is_template=is_template)
        formula = steps.fold if node.domain < Domain.ELEMENT else steps.apply
        return _STEPS.get(node.op, formula)(node, at)


def _loop(
    run: Fused, slots: Mapping[Vector, int], homes: Sequence[Home], compared: Collection[Vector]
) -> Iterator[Step]:
    """The steps that read what a loop takes as it is stored, and the loop."""
    for place, node in enumerate(run.inputs):
        # What only this loop reads is overwritten by what the next one reads; a template is compared later.
        memory = f"steps.stored.{slots[node]}" if node in compared else f"steps.in.{place}"
        yield steps.read_stored(node, slots[node], memory)
    yield steps.fused(run, slots, homes)


def _feed(number: int, node: Vector, slots: tuple[int, ...], homes: Sequence[Home], size: int) -> Step:
    """The step that hands a statistic its operands; it is the one of that number in its program."""
    if node.op in SELECTIONS:
        return selecting.gather(number, node, slots[0]) if size <= GATHER_LIMIT else selecting.search(node, slots[0])
    plain = all(isinstance(homes[slot], str) for slot in slots)
    return (steps.accumulate if node.op in REDUCTIONS else steps.gather)(node, Slots(-1, slots, plain))


def _home(node: Vector, registers: Mapping[Vector, str]) -> Home:
    return float(node.option("value")) if node.op == "constant" else registers.get(node)


def _operands(node: Vector) -> tuple[Vector, ...]:
    """What is streamed into a node; a cut's density is known beforehand."""
    return node.args[:1] if node.op == "cut" else node.args


def _allocate(
    planned: Sequence[Vector | Fused], below: Callable[[Vector], tuple[Vector, ...]], pinned: set[Vector]
) -> dict[Vector, str]:
    """Registers for element values, reused once their last reader is done; in place where the kernel allows it."""
    taken = [each.others if isinstance(each, Fused) else below(each) for each in planned]
    last = {arg: place for place, args in enumerate(taken) for arg in args}
    registers: dict[Vector, str] = {}
    free: list[str] = []
    count = 0
    for place, each in enumerate(planned):
        dying = [
            arg for arg in dict.fromkeys(taken[place]) if last[arg] == place and arg in registers and arg not in pinned
        ]
        early = isinstance(each, Vector) and each.op in IN_PLACE
        if early:
            free += [registers[arg] for arg in dying]
        for node in each.results if isinstance(each, Fused) else (each,):
            if node.domain != Domain.ELEMENT or node.static:
                continue
            if free:
                registers[node] = free.pop()
            else:
                registers[node] = f"register.{count}"
                count += 1
        if not early:
            free += [registers[arg] for arg in dying]
    return registers
