"""Graph and layout become a plan: which passes, over which tensors, computing what; nothing is read.

The plan is decided by facts that headers tell: names, shapes, dtypes, kinds. It assigns to each node the first pass in
which it can be evaluated (`ready`). Statistics of wide scopes (layer, global, `re:`) end a pass; statistics of a tensor
or a row are worked out within it, in *rounds* over that tensor while it is still in the page cache; those of cells
within one tile cost nothing. Statistics that become possible in the same pass share it.

Tensors fall into *groups* that are computed alike: same size class, same inputs present, same static zeros. The
executor compiles one program per group and round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

import numpy as np

from weightmath.algebra import kinds
from weightmath.algebra.formulas import FORMULAS
from weightmath.algebra.graph import Vector, topological
from weightmath.algebra.names import Numbers
from weightmath.algebra.show import brief
from weightmath.dtypes import FLOAT32, FLOAT64, DType
from weightmath.engine.presence import Facts, gaps, presence
from weightmath.errors import KindError, RecipeError, WeightmathError, at
from weightmath.layout import Entry, Layout
from weightmath.scope import TILE, Domain, Scope, rows_are_cut, tile_count

PAIRWISE = ("gram", "squared_distances", "opposed")  # a number for each pair of n vectors
REDUCTIONS = ("sum", "mean", "std", "norm", "dot", "cosine", "min", "max", "count", "density", *PAIRWISE)
SELECTIONS = ("cut", "quantile")
STATISTICS = (*REDUCTIONS, *SELECTIONS)
WHOLE_TENSOR = ("whole_tensor", "rank")
# Tensors of up to this many elements are selected from in memory, larger ones by bracket and counting.
GATHER_LIMIT = 1 << 21


@dataclass(frozen=True)
class Output:
    """A vector to be written: its name, its value, and the vector of its template, which it is compared with."""

    name: str
    value: Vector
    template: Vector | None = None
    dtype: DType | None = None
    where: str | None = None  # its place in the recipe, for messages; None: its kind is not checked


@dataclass(frozen=True)
class Watched:
    """A value of `show` or `expect`: its source text and node."""

    text: str
    value: Vector


@dataclass(frozen=True)
class Request:
    """What is to be computed: the plan's only input."""

    layout: Layout
    outputs: tuple[Output, ...]
    watched: tuple[Watched, ...] = ()
    order: tuple[int, ...] | None = None  # entries in the order of work; None: flat order
    compute: DType | None = None
    places: Mapping[Vector, str] = field(default_factory=dict)  # where a message says that a node stands


@dataclass(frozen=True)
class Pass:
    """One reading of the inputs."""

    statistics: tuple[Vector, ...]  # wide statistics that it completes
    outputs: tuple[Output, ...]  # outputs that it writes
    kept: tuple[Vector, ...]  # statistics per tensor that `show` and `expect` ask for
    reads: tuple[Vector, ...]  # inputs that it reads


@dataclass(frozen=True, eq=False)
class Plan:
    """The checked plan of one computation; equal to itself alone."""

    request: Request
    nodes: tuple[Vector, ...]  # operands first
    facts: Facts
    passes: tuple[Pass, ...]

    @property
    def layout(self) -> Layout:
        """The entries that are computed."""
        return self.request.layout

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Entries in the order of work."""
        return self.request.order if self.request.order is not None else tuple(range(len(self.layout)))

    @cached_property
    def compute_dtypes(self) -> tuple[DType, ...]:
        """What each entry is computed in: float64 where an input's tensor is, or where the request says so."""
        wide = np.full(len(self.layout), self.request.compute is FLOAT64)
        for stored in self._stored_dtypes:
            wide |= np.array([dtype is FLOAT64 for dtype in stored], dtype=bool)
        return tuple(FLOAT64 if flag else FLOAT32 for flag in wide)

    @cached_property
    def cells(self) -> dict[str, tuple[tuple[str, ...], tuple[int, ...]]]:
        """For each wide scope in use: its cells, and the cell of each entry."""
        scopes = {vector.option("scope") for vector in self.nodes if vector.op in STATISTICS}
        return {name: Scope(name).cells(self.layout) for name in scopes if name not in ("row", "tensor")}

    @cached_property
    def tile_base(self) -> tuple[int, ...]:
        """Number of the first tile of each entry, in flat order."""
        return tuple(accumulate((tile_count(entry) for entry in self.layout), initial=0))

    def key_dtype(self, vector: Vector, entry: int) -> np.dtype:
        """The float dtype that a selection orders an entry's values in: of the widest tensor its cells may hold."""
        if vector.domain >= Domain.TENSOR:
            return self.compute_dtypes[entry].bits
        return self._widest.bits

    @cached_property
    def _widest(self) -> DType:
        return FLOAT64 if FLOAT64 in self.compute_dtypes else FLOAT32

    def counts(self, vector: Vector, entry: int) -> bool:
        """Whether a statistic counts this entry: some operand has it."""
        operands = [self.facts.present[arg][entry] for arg in vector.args if arg.domain == Domain.ELEMENT]
        return not operands or any(operands)

    @cached_property
    def _stored_dtypes(self) -> list[list[DType | None]]:
        """Of each entry the dtype in which inputs store it; inputs of one layout are listed once."""
        layouts = {id(vector.source.layout): vector.source.layout for vector in self.nodes if vector.source is not None}
        found = (layout.under(self.layout.names) for layout in layouts.values())
        return [[entry and entry.dtype for entry in entries] for entries in found]

    @cached_property
    def group_keys(self) -> tuple[int, ...]:
        """A number for each entry, the same where all is the same that a program depends on."""
        choices = [self.facts.present[v] for v in self.nodes]
        for vector in self.nodes:
            if vector in self.facts.static:
                values = self.facts.static[vector]
                choices += [values == 0, values == 1]
        chosen = np.packbits(np.array(choices, dtype=bool), axis=0) if choices else np.zeros((0, len(self.layout)))
        columns = (
            *chosen.tolist(),
            self.compute_dtypes,
            map(_size_class, self.layout, self.layout.sizes),
            *self._stored_dtypes,
        )
        numbers: dict[object, int] = {}
        return tuple(numbers.setdefault(key, len(numbers)) for key in zip(*columns, strict=True))

    @cached_property
    def group_sizes(self) -> tuple[int, ...]:
        """Elements of all entries together that have the same group key, by key."""
        return tuple(np.bincount(self.group_keys, self.layout.sizes).astype(int).tolist())

    def kind(self, vector: Vector) -> str:
        """The kind of a vector in a word."""
        return "mask" if vector.is_mask else kinds.kind_of(self.facts.weights[vector])

    def bytes_written(self) -> int:
        """Bytes of computed tensors that are written."""
        total = 0
        for output in self.request.outputs:
            present = self.facts.present[output.value]
            for entry, flag in zip(self.layout, present, strict=True):
                total += entry.size * (output.dtype or entry.dtype).itemsize if flag else 0
        return total


def _size_class(entry: Entry, size: int) -> tuple[bool, bool, bool]:
    return (True, False, False) if size <= TILE else (False, rows_are_cut(entry), size > GATHER_LIMIT)


def is_inline(vector: Vector, entry: Entry) -> bool:
    """Whether a statistic or whole-tensor value is worked out where it is used: each cell lies within one tile."""
    if vector.op in WHOLE_TENSOR:
        return entry.size <= TILE or (vector.option("scope") == "row" and not rows_are_cut(entry))
    if vector.domain < Domain.TENSOR:
        return False
    return entry.size <= TILE or (vector.domain == Domain.ROW and not rows_are_cut(entry))


def make_plan(request: Request) -> Plan:
    """The plan of a request.

    Raises KindError for an output or declared argument of the wrong kind, LayoutError for a tensor that is absent where
    it is used, RecipeError for tables and densities that do not fit the layout.
    """
    roots = [v for output in request.outputs for v in (output.value, output.template) if v is not None]
    roots += [watched.value for watched in request.watched]
    nodes = tuple(topological(roots))
    facts = _learn(nodes, request)
    for output in request.outputs:
        _check_output(output, facts, request.layout)
    for watched in request.watched:
        if watched.value.domain == Domain.ELEMENT:
            raise RecipeError(
                f"`{brief(watched.value)}` has a value for every element",
                where=watched.text,
                hint='reduce it to a statistic: mean(x, scope="tensor")',
            )
    return Plan(request, nodes, facts, _schedule(nodes, facts, request))


@np.errstate(all="ignore")  # what is not finite is told, or is unknown
def _learn(nodes: Sequence[Vector], request: Request) -> Facts:
    """One walk, operands first, that learns all facts."""
    facts = Facts()
    for node in nodes:
        try:
            _learn_one(node, facts, request.layout)
        except WeightmathError as error:
            if node in request.places:
                at(request.places[node], error)
            raise
    return facts


def _learn_one(node: Vector, facts: Facts, layout: Layout) -> None:
    """Add what is known of one node, whose operands are known."""
    static, present, weights, ready = facts.static, facts.present, facts.weights, facts.ready
    if node.static:
        static[node] = _fold(node, static, layout)
    present[node] = presence(node, facts, layout)
    weights[node] = kinds.weights_of(
        node,
        [weights[arg] for arg in node.args],
        [static.get(arg) for arg in node.args],
        [present[arg] for arg in node.args],
        len(layout),
    )
    facts.gaps[node] = gaps(node, facts, layout)
    if node.op == "declared":
        kind, what = node.option("kind"), node.option("what")
        kinds.check(kind, weights[node][present[node]], lambda: f"{what}, `{brief(node)}`,")
    if node.op == "cut":
        _check_density(node, static, layout)
    ready[node] = max((ready[arg] for arg in node.args), default=0)
    if node.op in STATISTICS and node.domain < Domain.TENSOR:
        ready[node] += 1


def _fold(node: Vector, static: Mapping[Vector, Numbers], layout: Layout) -> Numbers:
    if node.op == "constant":
        return np.full(len(layout), float(node.option("value")))
    if node.op == "by_name":
        values: Numbers = node.option("rule").values(layout)
        return values
    folded = np.broadcast_to(FORMULAS[node.op](*(static[arg] for arg in node.args)), (len(layout),))
    if not np.isfinite(folded).all():
        bad = layout.names[int(np.flatnonzero(~np.isfinite(folded))[0])]
        raise RecipeError(f"`{brief(node)}` is not finite for `{bad}`")
    return np.asarray(folded, dtype=np.float64)


def _check_density(node: Vector, static: Mapping[Vector, Numbers], layout: Layout) -> None:
    densities = static.get(node.args[1])
    if densities is None:
        raise RecipeError(f"the density for `{brief(node.args[0])}` must be known before the run: a number or a table")
    for name, density in zip(layout.names, densities, strict=True):
        if not 0 <= density <= 1:
            raise RecipeError(f"the density must be in [0, 1], and is {density:g} for `{name}`")
    if node.domain >= Domain.TENSOR:
        return
    _, of_entry = Scope(node.option("scope")).cells(layout)
    first: dict[int, float] = {}
    for entry, cell in enumerate(of_entry):
        if first.setdefault(cell, densities[entry]) != densities[entry]:
            raise RecipeError(
                f"the density differs within one cell of scope `{node.option('scope')}`: {first[cell]:g} and "
                f"{densities[entry]:g} (`{layout.names[entry]}`)",
                hint='choose scope="tensor", or one density per cell',
            )


def _check_output(output: Output, facts: Facts, layout: Layout) -> None:
    if output.value.domain < Domain.ELEMENT:
        raise KindError(
            f"`{brief(output.value)}` is a number or statistic and cannot be saved", where=output.where or output.name
        )
    if output.value.is_mask or output.where is None:
        return
    present = facts.present[output.value]
    weights = facts.weights[output.value][present]
    if np.all(np.abs(weights[~np.isnan(weights)]) <= kinds.TOLERANCE):
        return
    try:
        kinds.check("model", weights, lambda: f"`{brief(output.value)}`")
    except KindError as error:
        raise at(output.where, error) from None


def _schedule(nodes: Sequence[Vector], facts: Facts, request: Request) -> tuple[Pass, ...]:
    """Passes in order: each completes the wide statistics whose operands are ready in it; the last one writes."""
    last = max((facts.ready[output.value] for output in request.outputs), default=0)
    wide: dict[int, list[Vector]] = {}
    for node in nodes:
        before = max((facts.ready[arg] for arg in node.args), default=0)
        if node.op in STATISTICS and facts.ready[node] > before:
            wide.setdefault(before, []).append(node)
    asked = statistics_below(watched.value for watched in request.watched)
    kept = [node for node in asked if node.domain >= Domain.TENSOR]
    for node in kept:
        wide.setdefault(facts.ready[node], [])
    passes = []
    for number in range(max([last, *wide]) + 1):
        outputs = request.outputs if number == last else ()
        statistics = tuple(wide.get(number, ()))
        here = tuple(node for node in kept if facts.ready[node] == number)
        if outputs or statistics or here:
            passes.append(Pass(statistics, outputs, here, _inputs_below((*statistics, *here), outputs, facts)))
    return tuple(passes)


def statistics_below(roots: Iterable[Vector]) -> list[Vector]:
    """The statistics that values are made of, but not those that these were taken of."""
    seen: dict[Vector, None] = {}
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node not in seen:
            seen[node] = None
            stack.extend(() if node.op in STATISTICS else node.args)
    return [node for node in seen if node.op in STATISTICS]


def _inputs_below(statistics: Sequence[Vector], outputs: Sequence[Output], facts: Facts) -> tuple[Vector, ...]:
    """Inputs that a pass reads: those below what it computes, not below what earlier passes have completed."""
    stack = [arg for node in statistics for arg in node.args]
    stack += [v for output in outputs for v in (output.value, output.template) if v is not None]
    seen: dict[Vector, None] = {}
    while stack:
        node = stack.pop()
        done = node.static or (node.op in STATISTICS and node.domain < Domain.TENSOR)
        if node not in seen and not done:
            seen[node] = None
            stack.extend(node.args)
    return tuple(node for node in seen if node.source is not None)
