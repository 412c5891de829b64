"""The engine's independent reference: the same graph on whole arrays in plain numpy float64; and vectors in memory.

`whole` shares no code with the engine but the solvers, the functions of whole tensors, the random streams and the kinds
of vectors, which have references of their own. `run` streams a value through the engine into memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from weightmath.algebra.graph import Input, Vector, input_vector, topological
from weightmath.dtypes import DTYPES, DType
from weightmath.engine.execute import Results, Settings, execute
from weightmath.engine.plan import Output, Plan, Request, Watched, make_plan
from weightmath.kernels import matrix, random
from weightmath.kernels.solvers import solve
from weightmath.layout import Entry, Layout
from weightmath.scope import Domain, Scope

Arrays = Mapping[str, np.ndarray]


class Memory:
    """A source and a sink in memory, float32 or float64 arrays by name; it counts what is read and written."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = dict(arrays)
        self.written: dict[str, int] = {}
        self.reads: dict[str, int] = {}
        self.copies: Sequence[Any] = ()
        self._lock = threading.Lock()

    def dtype(self, name: str) -> DType:
        return DTYPES[self.arrays[name].dtype.name]

    def reading(self, name: str) -> Callable[[int, np.ndarray], None]:
        return partial(self.read, name)

    def writing(self, name: str) -> Callable[[int, np.ndarray], None]:
        return partial(self.write, name)

    def read(self, name: str, start: int, out: np.ndarray) -> None:
        out[:] = self.arrays[name].reshape(-1)[start : start + len(out)]
        with self._lock:
            self.reads[name] = self.reads.get(name, 0) + len(out)

    def write(self, name: str, start: int, bits: np.ndarray) -> None:
        self.arrays[name].reshape(-1)[start : start + len(bits)] = bits
        with self._lock:
            self.written[name] = self.written.get(name, 0) + len(bits)

    def read_tensors(self, names: Sequence[str], spans: Sequence[slice], out: np.ndarray) -> None:
        for name, span in zip(names, spans, strict=True):
            self.read(name, 0, out[span])

    def write_tensors(self, names: Sequence[str], spans: Sequence[slice], bits: np.ndarray) -> list[None]:
        for name, span in zip(names, spans, strict=True):
            self.write(name, 0, bits[span])
        return [None] * len(names)

    def seen(self) -> tuple[Arrays, dict[str, int], dict[str, int]]:
        return self.arrays if self.written else {}, self.written, self.reads

    def see_also(self, seen: tuple[Arrays, dict[str, int], dict[str, int]]) -> None:
        """Elements that were not written are 777."""
        arrays, written, reads = seen
        for name in written:
            there = arrays[name] != 777
            self.arrays[name][there] = arrays[name][there]
        for own, other in ((self.written, written), (self.reads, reads)):
            own.update({name: own.get(name, 0) + count for name, count in other.items()})

    def copy(self, job: Any) -> int:
        raise AssertionError("nothing to copy")


def layout_of(arrays: Arrays) -> Layout:
    return Layout.of(Entry(name, array.shape, DTYPES[array.dtype.name]) for name, array in arrays.items())


def memory_input(name: str, arrays: Arrays, kind: str = "model") -> Vector:
    return input_vector(Input(name, layout_of(arrays), kind, origin=Memory(arrays)))


def inputs_of(values: Sequence[Vector]) -> list[Vector]:
    return [node for node in topological(values) if node.source is not None]


def plan_of(
    value: Vector,
    watched: Sequence[Vector] = (),
    template: Vector | None = None,
    order: Sequence[int] | None = None,
    layout: Layout | None = None,
) -> Plan:
    """The plan of one output; its layout is that of all inputs together, unless given."""
    together = {entry.name: entry for node in inputs_of([value, *watched]) for entry in node.source.layout}
    output = Output("out", value, template)
    seen = tuple(Watched(str(node), node) for node in watched)
    return make_plan(Request(layout or Layout.of(together.values()), (output,), seen, order and tuple(order)))


def run(
    value: Vector,
    watched: Sequence[Vector] = (),
    *,
    settings: Settings = Settings(),
    order: Sequence[int] | None = None,
    template: Vector | None = None,
    layout: Layout | None = None,
) -> tuple[dict[str, np.ndarray], Results]:
    """Stream a vector into memory: its arrays in the dtype they are computed in, and the results."""
    plan = plan_of(value, watched, template, order, layout)
    names = [e.name for e, there in zip(plan.layout, plan.facts.present[value], strict=True) if there]
    dtypes = {e.name: d.bits for e, d in zip(plan.layout, plan.compute_dtypes, strict=True)}
    sink = Memory({name: np.full(plan.layout[name].shape, 777, dtypes[name]) for name in names})
    sources = {node: node.source.origin for node in plan.nodes if node.source is not None}
    results = execute(plan, sources, {"out": sink}, settings)
    for name in names:
        assert sink.written.get(name, 0) == plan.layout[name].size, name
    return sink.arrays, results


def whole(value: Vector, layout: Layout) -> dict[str, np.ndarray]:
    """The value in float64 on whole arrays, by names; a statistic spread over the elements of its cells."""
    memo: dict[Vector, dict[str, np.ndarray]] = {}
    is_statistic = value.domain < Domain.ELEMENT
    asked = ((), (Watched("value", value),)) if is_statistic else ((Output("value", value),), ())
    weights = make_plan(Request(layout, *asked)).facts.weights
    with np.errstate(all="ignore"):
        for node in topological([value]):
            args = [memo[arg] for arg in node.args]
            memo[node] = _one(node, args, layout)
            for name in _lost(node, args, weights, layout) if node.op in PADDED else ():
                memo[node].pop(name, None)
    return memo[value]


def _lost(
    node: Vector, args: Sequence[dict[str, np.ndarray]], weights: Mapping[Vector, np.ndarray], layout: Layout
) -> set[str]:
    """Tensors that an operand lacks which is no delta: they cannot be read as 0."""
    lost = set()
    for place, name in enumerate(layout.names):
        for number, (arg, below) in enumerate(zip(args, node.args, strict=True)):
            if node.op == "where" and node.args[0].op == "by_name" and number == (1 if not args[0][name].any() else 2):
                continue  # the branch that is not taken there
            if below.domain == Domain.ELEMENT and name not in arg and weights[below][place] != 0:
                lost.add(name)
    return lost


def _one(node: Vector, args: Sequence[dict[str, np.ndarray]], layout: Layout) -> dict[str, np.ndarray]:
    names = layout.names
    if node.op in LEAVES:
        return {name: LEAVES[node.op](node, layout, name) for name in names}
    if node.op == "input":
        values = {name: array.astype(np.float64) for name, array in node.source.origin.arrays.items()}
        return {name: (x != 0) * 1.0 if node.is_mask else x for name, x in values.items()}
    if node.op in ("declared", "cast"):
        return args[0]
    if node.op == "only":
        matched = dict(zip(names, node.option("rule").values(layout) != 0, strict=True))
        return {name: x for name, x in args[0].items() if matched[name] == node.option("inside")}
    if node.op == "overlay":
        return {**args[0], **args[1]}
    if node.op in SCOPED:
        return _scoped(node, args, layout)
    if node.op in PADDED:
        there = {name for arg, below in zip(args, node.args, strict=True) for name in arg if below.domain == 5}
        args = [{n: np.zeros(layout[n].shape) for n in there} | arg for arg in args]
    common = [name for name in names if all(name in arg for arg in args)]
    return {name: _element(node, name, layout)(*(arg[name] for arg in args)) for name in common}


def _element(node: Vector, name: str, layout: Layout) -> Callable[..., np.ndarray]:
    if node.op == "bernoulli":
        drawn = random.key(node.option("seed"), "bernoulli", node.option("label"), name)
        words = random.words(drawn, 0, layout[name].size).reshape(layout[name].shape)
        return lambda p: (words < p * 2.0**32) * 1.0
    if node.op == "coefficients":
        return lambda gram, *numbers: _solved(node, gram, numbers)
    if node.op == "item":
        return lambda x: x[..., node.option("index")]
    if node.op == "rank":
        return lambda x: _ranks(x, node.option("scope"))
    if node.op == "whole_tensor":
        return lambda *xs: matrix.evaluate(node, xs)
    return ELEMENT[node.op]


def _ranks(x: np.ndarray, scope: str) -> np.ndarray:
    """How many magnitudes of a row, or of the tensor, come before each: smaller ones, and equal ones that follow."""
    ranks = np.empty(x.shape)
    for row in range(len(x)) if scope == "row" and x.ndim > 1 else [...]:
        size = np.abs(x[row]).reshape(-1)
        before = [(size < value).sum() + (size[i + 1 :] == value).sum() for i, value in enumerate(size)]
        ranks[row] = np.reshape([n / (size.size - 1) if size.size > 1 else 0.5 for n in before], np.shape(x[row]))
    return ranks


def _solved(node: Vector, gram: np.ndarray, numbers: Sequence[np.ndarray]) -> np.ndarray:
    """A gram matrix per element, solved element by element."""
    columns = [number.reshape(-1) for number in numbers]
    return solve(node, gram.reshape(-1, *gram.shape[-2:]), columns).reshape(gram.shape[:-1])


def _random(node: Vector, layout: Layout, name: str) -> np.ndarray:
    stream = random.key(node.option("seed"), node.option("draw"), node.option("label"), name)
    made = getattr(random, node.option("draw"))(stream, 0, layout[name].size, np.float32)
    return made.reshape(layout[name].shape).astype(np.float64)


def _by_name(node: Vector, layout: Layout, name: str) -> np.ndarray:
    return np.full(layout[name].shape, node.option("rule").values(layout)[layout.index[name]])


LEAVES: dict[str, Callable[[Vector, Layout, str], np.ndarray]] = {
    "constant": lambda node, layout, name: np.full(layout[name].shape, node.option("value")),
    "by_name": _by_name,
    "random": _random,
}
# An absent delta reads as 0 in these.
PADDED = ("add", "subtract", "negative", "minimum", "maximum", "where", "median")
ELEMENT: dict[str, Callable[..., np.ndarray]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "negative": lambda a: -a,
    "power": lambda a, b: a**b,
    "absolute": np.abs,
    "sign": np.sign,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "floor": np.floor,
    "round": np.round,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "equal": lambda a, b: (a == b) * 1.0,
    "unequal": lambda a, b: (a != b) * 1.0,
    "less": lambda a, b: (a < b) * 1.0,
    "greater": lambda a, b: (a > b) * 1.0,
    "at_most": lambda a, b: (a <= b) * 1.0,
    "at_least": lambda a, b: (a >= b) * 1.0,
    "both": lambda a, b: ((a != 0) & (b != 0)) * 1.0,
    "either": lambda a, b: ((a != 0) | (b != 0)) * 1.0,
    "inverse": lambda a: (a == 0) * 1.0,
    "where": lambda m, a, b: np.where(m != 0, a, b),
    "median": lambda *xs: np.median(np.stack(xs), axis=0),
    "keep": lambda x, kept: np.where(kept != 0, x, 0),
    "largest_mask": lambda x, kept: kept,
}


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / lengths) if lengths else 0.0


REDUCE: dict[str, Callable[..., Any]] = {
    "sum": lambda x: x.sum(),
    "mean": lambda x: x.mean() if x.size else 0.0,
    "std": lambda x: x.std() if x.size else 0.0,
    "norm": lambda x: np.sqrt((x * x).sum()),
    "dot": lambda a, b: (a * b).sum(),
    "cosine": _cosine,
    "min": lambda x: x.min() if x.size else 0.0,
    "max": lambda x: x.max() if x.size else 0.0,
    "count": np.count_nonzero,
    "density": lambda x: np.count_nonzero(x) / x.size if x.size else 0.0,
    "gram": lambda *xs: np.stack(xs) @ np.stack(xs).T,
}
SCOPED = (*REDUCE, "quantile", "cut")


def _scoped(node: Vector, args: Sequence[dict[str, np.ndarray]], layout: Layout) -> dict[str, np.ndarray]:
    """A statistic, spread over the elements of its cells; for `cut` the mask of what is kept."""
    inner = (len(args), len(args)) if node.op == "gram" else ()
    result = {name: np.zeros((*layout[name].shape, *inner)) for name in layout.names}
    vectors = [arg for arg, below in zip(args, node.args, strict=True) if below.domain == Domain.ELEMENT] or args
    args = [{name: np.zeros(layout[name].shape) for name in layout.names} | arg for arg in args]
    for places in _cells(Scope(node.option("scope")), layout):
        counted = [(name, at) for name, at in places if any(name in arg for arg in vectors)]
        nothing = [np.zeros(0)]
        value = _cell_value(
            node, [np.concatenate([arg[n][at].reshape(-1) for n, at in counted] or nothing) for arg in args]
        )
        if node.op == "cut":
            _spread(value, counted, result)
        else:
            for name, at in places:
                result[name][at] = value
    return result


def _spread(values: np.ndarray, places: Sequence[tuple[str, Any]], result: Mapping[str, np.ndarray]) -> None:
    """Hand a flat array out to places."""
    taken = 0
    for name, at in places:
        part = result[name][at]
        result[name][at] = values[taken : taken + part.size].reshape(part.shape)
        taken += part.size


def _cells(scope: Scope, layout: Layout) -> list[list[tuple[str, Any]]]:
    """For each cell its places: a tensor and an index into it."""
    cells: dict[Any, list[tuple[str, Any]]] = {}
    for name in layout.names:
        if scope.domain == Domain.ROW and len(layout[name].shape) > 1:
            for row in range(layout[name].shape[0]):
                cells[name, row] = [(name, slice(row, row + 1))]
        else:
            cell = name if scope.domain >= Domain.TENSOR else scope.cell(name)
            cells.setdefault(cell, []).append((name, ...))
    return list(cells.values())


def _cell_value(node: Vector, vectors: Sequence[np.ndarray]) -> Any:
    if node.op == "quantile":
        return float(np.quantile(vectors[0], node.option("q"))) if vectors[0].size else 0.0
    if node.op == "cut":
        return _kept(vectors[0], vectors[1], node.option("order"))
    return REDUCE[node.op](*vectors)


def _kept(x: np.ndarray, density: np.ndarray, order: str) -> np.ndarray:
    mask = np.zeros(x.size)
    if x.size:
        exact = int(Fraction(repr(float(density[0]))) * x.size)
        k = max(exact, 1) if density[0] > 0 else 0
        ranked = np.argsort(-np.abs(x) if order == "largest" else np.abs(x), kind="stable")
        mask[ranked[:k]] = 1
    return mask
