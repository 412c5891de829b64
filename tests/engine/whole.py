"""The engine's independent reference: the same graph on whole arrays in plain numpy, and vectors held in memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from weightmath.dtypes import DTYPES, DType
from weightmath.execute import Results, Settings, execute
from weightmath.graph import Input, Vector, input_vector
from weightmath.layout import Entry, Layout
from weightmath.plan import Output, Plan, Request, Watched, make_plan
from weightmath.scope import Domain, Scope

Arrays = Mapping[str, np.ndarray]


class Memory:
    """A source and a sink in memory: float32 or float64 arrays by name."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = dict(arrays)
        self.written: dict[str, int] = {}
        self.copies: Sequence[Any] = ()
        self._lock = threading.Lock()

    def dtype(self, name: str) -> DType:
        return DTYPES[self.arrays[name].dtype.name]

    def read(self, name: str, start: int, stop: int, out: np.ndarray) -> None:
        out[:] = self.arrays[name].reshape(-1)[start:stop]

    def write(self, name: str, start: int, bits: np.ndarray) -> None:
        self.arrays[name].reshape(-1)[start : start + len(bits)] = bits
        with self._lock:
            self.written[name] = self.written.get(name, 0) + len(bits)

    def copy(self, job: Any) -> int:
        raise AssertionError("nothing to copy")


def layout_of(arrays: Arrays) -> Layout:
    return Layout.of(Entry(name, array.shape, DTYPES[array.dtype.name]) for name, array in arrays.items())


def memory_input(name: str, arrays: Arrays, kind: str = "model") -> Vector:
    return input_vector(Input(name, layout_of(arrays), kind, origin=Memory(arrays)))


def plan_of(value: Vector, watched: Sequence[Vector] = (), template: Vector | None = None) -> Plan:
    sources = [node for node in _inputs([value, *watched])]
    layout = Layout.of({e.name: e for node in sources for e in node.source.layout}.values())
    output = Output("out", value, template)
    return make_plan(Request(layout, (output,), tuple(Watched(str(w), w) for w in watched)))


def _inputs(values: Sequence[Vector]) -> list[Vector]:
    from weightmath.graph import topological

    return [node for node in topological(values) if node.source is not None]


def run(
    value: Vector, watched: Sequence[Vector] = (), *, settings: Settings = Settings(), order: Sequence[int] | None = None
) -> tuple[dict[str, np.ndarray], Results]:
    """Stream a vector into memory: its arrays, and the results."""
    plan = plan_of(value, watched)
    if order is not None:
        from dataclasses import replace

        plan = replace(plan, request=replace(plan.request, order=tuple(order)))
    names = [e.name for e, there in zip(plan.layout, plan.facts.present[value], strict=True) if there]
    dtypes = {e.name: d.bits for e, d in zip(plan.layout, plan.compute_dtypes, strict=True)}
    sink = Memory({name: np.full(plan.layout[name].shape, 777, dtypes[name]) for name in names})
    sources = {node: node.source.origin for node in plan.nodes if node.source is not None}
    results = execute(plan, sources, {"out": sink}, settings)
    for name in names:
        assert sink.written.get(name, 0) == plan.layout[name].size, name
    return sink.arrays, results


def whole(value: Vector, layout: Layout) -> dict[str, np.ndarray]:
    """The value in float64 on whole arrays, by names."""
    memo: dict[Vector, dict[str, np.ndarray]] = {}
    from weightmath.graph import topological

    for node in topological([value]):
        memo[node] = _one(node, memo, layout)
    return memo[value]


def _one(node: Vector, memo: Mapping[Vector, dict[str, np.ndarray]], layout: Layout) -> dict[str, np.ndarray]:
    args = [memo[arg] for arg in node.args]
    names = layout.names
    if node.op == "constant":
        return {name: np.full(layout[name].shape, node.option("value")) for name in names}
    if node.op == "by_name":
        values = node.option("rule").values(layout)
        return {name: np.full(layout[name].shape, value) for name, value in zip(names, values, strict=True)}
    if node.op == "input":
        return {name: array.astype(np.float64) for name, array in node.source.origin.arrays.items()}
    if node.op in ("declared", "cast"):
        return args[0]
    if node.op == "only":
        matched = dict(zip(names, node.option("rule").values(layout) != 0, strict=True))
        return {name: x for name, x in args[0].items() if matched[name] == node.option("inside")}
    if node.op == "overlay":
        return {**args[0], **args[1]}
    if node.op in SCOPED:
        return _scoped(node, args, layout)
    if node.op == "keep":
        return {n: np.where(args[1][n] != 0, args[0][n], 0) for n in args[0]}
    if node.op == "largest_mask":
        return {n: args[1][n] for n in args[0]}
    if node.op in ("add", "subtract"):  # an absent delta reads as 0
        args = [arg if set(arg) == set(names) else {n: np.zeros(layout[n].shape) for n in names} | arg for arg in args]
    common = [n for n in names if all(n in arg for arg in args)]
    return {n: ELEMENT[node.op](*(arg[n] for arg in args)) for n in common}


ELEMENT = {
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
}


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / lengths) if lengths else 0.0


REDUCE = {
    "sum": lambda x: x.sum(),
    "mean": lambda x: x.mean() if x.size else 0.0,
    "std": lambda x: x.std() if x.size else 0.0,
    "norm": lambda x: np.sqrt((x * x).sum()),
    "dot": lambda a, b: (a * b).sum(),
    "cosine": _cosine,
    "min": lambda x: x.min() if x.size else 0.0,
    "max": lambda x: x.max() if x.size else 0.0,
    "count": lambda x: np.count_nonzero(x),
    "density": lambda x: np.count_nonzero(x) / x.size if x.size else 0.0,
}
SCOPED = (*REDUCE, "quantile", "cut")


def _scoped(node: Vector, args: Sequence[dict[str, np.ndarray]], layout: Layout) -> dict[str, np.ndarray]:
    """A statistic, spread over the elements of its cells; for `cut` the mask of what is kept."""
    scope = Scope(node.option("scope"))
    result = {n: np.zeros(layout[n].shape) for n in layout.names}
    cells: dict[Any, list[tuple[str, Any]]] = {}
    for n in (n for n in layout.names if n in args[0]):
        if scope.domain == Domain.ROW:
            for row in range(layout[n].rows):
                cells.setdefault((n, row), []).append((n, row if len(layout[n].shape) > 1 else ...))
        else:
            cells.setdefault(n if scope.domain == Domain.TENSOR else scope.cell(n), []).append((n, ...))
    for places in cells.values():
        vectors = [np.concatenate([arg[n][at].reshape(-1) for n, at in places]) for arg in args]
        value = _cell_value(node, vectors)
        at_element = 0
        for n, at in places:
            part = result[n][at]
            count = part.size if isinstance(part, np.ndarray) else 1
            new = value[at_element : at_element + count].reshape(np.shape(part)) if isinstance(value, np.ndarray) else value
            result[n][at] = new
            at_element += count
    return result


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
