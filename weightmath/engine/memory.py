"""How much memory a plan takes, and the settings that fit a budget.

What counts is what threads hold while they compute a part of a chunk: registers, raw bits, and the work arrays of
kernels; then tables of statistics and the keys that selections collect. None of it grows with the model, but for what
is known of each tensor (descriptions, a few numbers) and, for functions of whole tensors, the largest tensor.
"""

from __future__ import annotations

import os

from weightmath.engine.execute import PART_TILES, Settings
from weightmath.engine.fusing import is_worth
from weightmath.engine.plan import GATHER_LIMIT, SELECTIONS, STATISTICS, WHOLE_TENSOR, Plan, is_inline
from weightmath.engine.program import Compiler
from weightmath.engine.search import budget_of
from weightmath.errors import MemoryBudgetError, RecipeError
from weightmath.scope import TILE, Domain

_INTERPRETER = 60 << 20  # measured: with numpy and the command line
_COMPILER = 80 << 20  # measured: of loops, with what it makes
_WORK_ARRAYS = 12  # work arrays of kernels and raw bits, in arrays of a part
_DESCRIPTION = 1100  # measured: what is known of a tensor of one input or output, of 100,000 and of a million
_MOST_THREADS = 8
_CHUNKS = 64  # of a model, until they are so large that there is nothing to gain: what a helper is told takes 0.4 ms
_LARGEST_CHUNK = 64  # tiles


def working_bytes(plan: Plan, settings: Settings) -> int:
    """Bytes that the arithmetic of this plan holds at most: neither the interpreter nor what is known of tensors."""
    width = max((dtype.itemsize for dtype in plan.compute_dtypes), default=4)
    part = min(settings.chunk, PART_TILES * TILE)
    held = sum(node.source.held for node in plan.nodes if node.source is not None)
    per_thread = (_registers(plan, settings) + _WORK_ARRAYS) * part * width + held
    selections = _selections(plan, settings, width)
    return settings.threads * per_thread + _tables(plan) + selections + _whole_tensors(plan, settings)


def peak_bytes(plan: Plan, settings: Settings) -> int:
    """Bytes that the process is expected to hold at most."""
    compiler = _COMPILER if settings.loops else 0
    return _INTERPRETER + compiler + _descriptions(plan) + working_bytes(plan, settings)


def _registers(plan: Plan, settings: Settings) -> int:
    largest = max(range(len(plan.layout)), key=lambda i: plan.layout.entries[i].size, default=None)
    if largest is None:
        return 0
    outputs = [o for o in plan.request.outputs if plan.facts.present[o.value][largest]]
    programs = Compiler(plan, largest, frozenset(), loops=settings.loops).rounds((), outputs, (), ())
    return max(program.registers for program in programs)


def _chunk(plan: Plan) -> int:
    """The chunk to choose where memory is no question: some dozens of them, so that threads end together."""
    return TILE * min(max(plan.layout.size // (_CHUNKS * TILE), PART_TILES), _LARGEST_CHUNK)


def _descriptions(plan: Plan) -> int:
    inputs = [node.source.layout for node in plan.nodes if node.source is not None]
    return (sum(map(len, inputs)) + len(plan.request.outputs) * len(plan.layout)) * _DESCRIPTION


def _tables(plan: Plan) -> int:
    statistics = sum(node.op in STATISTICS for node in plan.nodes)
    return statistics * len(plan.layout) * 100


def _selections(plan: Plan, settings: Settings, width: int) -> int:
    """Keys that selections hold: each thread of a tensor, and all of what brackets of wider cells collect."""
    total = 0
    for node in plan.nodes:
        if node.op in SELECTIONS and node.domain < Domain.TENSOR:
            cells = len(plan.cells[node.option("scope")][0])
            total += cells * budget_of(cells)
        elif node.op in SELECTIONS:
            total += settings.threads * GATHER_LIMIT * width
    return total


def _whole_tensors(plan: Plan, settings: Settings) -> int:
    nodes = [node for node in plan.nodes if node.op in WHOLE_TENSOR]
    largest = [max((e.size for e in plan.layout if not is_inline(node, e)), default=0) for node in nodes]
    # Measured: a singular value decomposition and what is made of it hold up to 70 bytes per element and operand.
    return sum(size * len(node.args) for node, size in zip(nodes, largest, strict=True)) * 70


def threads_of(asked: int | None) -> int:
    """The number of worker threads: what was asked for, else as many as there are processors, at most 8.

    No more than 8, or two for each processor, are of use: to start thousands takes longer than the work. Fails with
    RecipeError for fewer than one.
    """
    if asked is not None and asked < 1:
        raise RecipeError(f"`threads` must be 1 or more, not {asked}")
    processors = os.cpu_count() or 1
    most = max(_MOST_THREADS, 2 * processors)
    return min(asked or min(processors, _MOST_THREADS), most)


def settings_for(plan: Plan, threads: int | None, memory: int | None) -> Settings:
    """The fastest settings within a budget in bytes; MemoryBudgetError, with the least that would do, if none are."""
    count = threads_of(threads)
    fastest = Settings(count, _chunk(plan), loops=is_worth(plan.layout.size))
    choices = [fastest, Settings(count, _chunk(plan)), Settings(count, TILE), Settings(1, TILE)]
    if threads:
        choices = choices[:3]
    if memory is None:
        return choices[0]
    for settings in choices:
        if peak_bytes(plan, settings) <= memory:
            return settings
    least = peak_bytes(plan, choices[-1])
    raise MemoryBudgetError(
        f"the work needs {-(-least // 10**6):,} MB, and the budget is {_shown(memory)}",
        hint=f"--memory {-(-least // 10**6)}MB",
    )


def _shown(nbytes: int) -> str:
    return f"{nbytes / 1e6:,.0f} MB" if nbytes >= 10**6 else f"{nbytes:,} bytes"
