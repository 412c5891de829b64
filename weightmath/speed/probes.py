"""Formulas that are timed in memory: together they hold every operation, each in a mixture of its own.

What one operation takes is not looked for in a formula, but found afterwards from all of them: see `calibrate`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from statistics import median

import numpy as np

from weightmath import functions as f
from weightmath.algebra.formulas import COMPARE, UFUNCS
from weightmath.algebra.graph import Input, Vector, constant, elementwise, input_vector, topological
from weightmath.dtypes import DTYPES, FLOAT32, FLOAT64, DType
from weightmath.engine.cost import operations
from weightmath.engine.ends import Fill, Put, Sink, Source
from weightmath.engine.execute import execute
from weightmath.engine.memory import settings_for
from weightmath.engine.plan import PAIRWISE, REDUCTIONS, Output, Plan, Request, Watched, make_plan
from weightmath.functions.statistics import reduction
from weightmath.kernels import convert
from weightmath.layout import Entry, Layout

# Shapes of what operations are tried on: so many elements that the start of a run, which takes 2 ms, hardly counts, and
# that all is in loops of machine code, as in all models of some size.
_SHAPE = (4096, 4096)
_SMALL = (1024, 4096)
_HELD = (512, 4096)  # of what is sorted in memory
_WIDE = (16384, 4096)  # so that a selection's sample is small beside it
_LARGE = (32768, 4096)  # so that not all tiles are looked at
_MATRIX = (512, 512)
_KEPT = 1 << 20  # elements, at least those of a chunk
_TERMS = 16  # that have a cheap operation, so that it tells beside reading and writing
_LOGIC = ("both", "either")
_BOUNDS = ("maximum", "minimum")


@dataclass(frozen=True)
class Timed:
    """How much of each kind of work was done, and the least seconds of the processor that it took."""

    work: Mapping[str, float]
    seconds: float


@dataclass(frozen=True)
class Probe:
    """Formulas over inputs in memory, which can be run again and again."""

    plan: Plan
    sources: Mapping[Vector, _Memory]
    sinks: Mapping[str, _Memory]

    def work(self) -> dict[str, float]:
        """How much it does of each kind, on one thread. Tensors are left out: those of files cost more."""
        found = {kind: amount for kind, amount in operations(self.plan).items() if not kind.startswith("tensor ")}
        return {**found, "start of a thread": 1}

    def seconds(self, threads: int, clock: Callable[[], float]) -> float:
        """Run it; what it took by a clock."""
        started = clock()
        execute(self.plan, self.sources, self.sinks, settings_for(self.plan, threads, None))
        return clock() - started


class _Memory(Source, Sink):
    """An input and an output in memory, however many elements they have: few are kept, and used again and again."""

    def __init__(self, dtype: DType, bits: np.ndarray) -> None:
        self._dtype = dtype
        self._bits = bits

    def dtype(self, name: str) -> DType:
        return self._dtype

    def reading(self, name: str) -> Fill:
        return self._read

    def _read(self, start: int, out: np.ndarray) -> None:
        out[:] = self._bits[: len(out)]

    def writing(self, name: str) -> Put:
        return self._write

    def _write(self, start: int, bits: np.ndarray) -> None:
        self._bits[: len(bits)] = bits

    def read_tensors(self, names: Sequence[str], spans: Sequence[slice], out: np.ndarray) -> None:
        self._read(0, out)

    def write_tensors(self, names: Sequence[str], spans: Sequence[slice], bits: np.ndarray) -> list[None]:
        self._write(0, bits)
        return [None] * len(names)


def timed(probes: Sequence[Probe], rounds: int) -> list[Timed]:
    """The median times of probes, which take turns: what else a machine does for a while then hits none of them alone.

    By the processor's time, since that minds others the least.
    """
    seconds = [[probe.seconds(1, time.process_time) for probe in probes] for _ in range(rounds)]
    return [Timed(probe.work(), median(taken)) for probe, taken in zip(probes, zip(*seconds, strict=True), strict=True)]


def probes() -> Iterator[Probe]:
    """All formulas."""
    x, y = (memory_input(name, seed) for name, seed in (("x", 1), ("y", 2)))
    # A few chunks: what more of them take is not what the first does, whose memory is new.
    yield probe([memory_input("small", 1, shape=_SMALL)])
    yield probe([x], compared=True)
    yield probe([memory_input("large", 1, shape=_LARGE)], compared=True)
    for dtype in (dtype for dtype in DTYPES.values() if dtype.is_float):
        here = memory_input(dtype.name, 1, dtype)
        yield probe([here])
        yield probe([here, here])
        yield probe([here], dtype=FLOAT32 if dtype is not FLOAT32 else FLOAT64)
    yield from (probe([value]) for value in (*_cheap(x, y), *_dear(x, y)))
    yield from (probe([x], watched=[statistic]) for statistic in _statistics(x, y))
    held, wide = (memory_input(name, 1, shape=shape) for name, shape in (("held", _HELD), ("wide", _WIDE)))
    yield probe([f.rank(held, scope="tensor")])
    for value, scope in ((held, "tensor"), (wide, "global")):
        yield probe([value], watched=[f.quantile(value, 0.5, scope=scope)])
        yield probe([f.keep_largest(value, 0.2, scope=scope)])
    yield probe([f.truncated_svd(memory_input("m", 1, shape=_MATRIX), rank=8)])


def _cheap(x: Vector, y: Vector) -> Iterator[Vector]:
    """Each elementwise operation in all terms of a sum; bounds are numbers, as those of `clamp`."""
    numbers = [constant(0.5 + place / _TERMS) for place in range(_TERMS)]
    scaled = [elementwise("multiply", x, number) for number in numbers]
    truths = [elementwise("less", x, number) for number in numbers]
    for op, ufunc in UFUNCS.items():
        other = y > x if op in _LOGIC else numbers[0] if op in _BOUNDS else y
        yield _sum(op, truths if op in _LOGIC else scaled, *([other] if ufunc.nin == 2 else []))
    for op in COMPARE:
        yield _sum(op, scaled, y)
    yield _sum("inverse", truths)
    yield _sum("where", truths, x, y)


def _dear(x: Vector, y: Vector) -> Iterator[Vector]:
    """Operations that tell by themselves."""
    yield from (f.median([x, y, x - y]), f.exp(x), f.log(y), f.tanh(x), x**0.3)
    yield from (f.gaussian(seed=1), f.uniform(seed=1), f.rademacher(seed=1), f.bernoulli(0.5, seed=1))


def _sum(op: str, operands: Sequence[Vector], *others: Vector) -> Vector:
    """Of terms that do not wait for each other: the processor works on several at a time, as in most formulas."""
    terms = [elementwise(op, operand, *others) for operand in operands]
    return reduce(partial(elementwise, "add"), terms)


def _statistics(x: Vector, y: Vector) -> Iterator[Vector]:
    for op in REDUCTIONS:
        yield reduction(op, *((x, y) if op in (*PAIRWISE, "dot", "cosine") else (x,)), scope="global")


def probe(
    values: Sequence[Vector],
    *,
    dtype: DType | None = None,
    compared: bool = False,
    watched: Sequence[Vector] = (),
) -> Probe:
    """A probe that writes values, as they are or in a dtype, beside its first input as a template or by themselves."""
    inputs = {node: node.source for node in topological([*values, *watched]) if node.source is not None}
    layout = next((source.layout for source in inputs.values()), _layout(_SHAPE, FLOAT32))
    template = next(iter(inputs)) if compared else None
    outputs = tuple(Output(str(number), value, template, dtype) for number, value in enumerate(values))
    plan = make_plan(Request(layout, outputs, tuple(Watched("", node) for node in watched)))
    stored = dtype or next(iter(layout)).dtype
    sinks = {output.name: _Memory(stored, np.zeros(_KEPT, stored.bits)) for output in outputs}
    return Probe(plan, {node: source.origin for node, source in inputs.items()}, sinks)


def memory_input(name: str, seed: int, dtype: DType = FLOAT32, shape: tuple[int, int] = _SHAPE) -> Vector:
    """An input of one tensor of normal values in memory."""
    values = np.random.default_rng(seed).standard_normal(_KEPT, np.float32)
    bits = np.empty(values.shape, dtype.bits)
    convert.encode(values, dtype, bits)
    return input_vector(Input(name, _layout(shape, dtype), origin=_Memory(dtype, bits)))


def _layout(shape: tuple[int, int], dtype: DType) -> Layout:
    return Layout.of([Entry("tensor", shape, dtype)])
