"""The lazy graph: what a recipe or a line of Python means, before anything is computed.

A `Vector` is a node: an operation, its operands, its options. Nodes are immutable and interned, so that the same
subexpression written twice is one node and is computed once (this is the only rewrite that is made; arithmetic is
never rearranged). Interning keys on types and bits: -0.0 is not 0.0, and 1 is not 1.0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, NoReturn, TypeGuard
from weakref import WeakValueDictionary

from weightmath.algebra.formulas import FORMULAS
from weightmath.algebra.names import ByName, Table
from weightmath.algebra.show import COMPARISONS, LOGIC, SYMBOLS, brief, show
from weightmath.errors import KindError, RecipeError
from weightmath.layout import Layout
from weightmath.scope import Domain

_MASKS = {*COMPARISONS, *LOGIC, "largest_mask", "bernoulli"}
_NUMBER = re.compile(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)(e[-+]?\d+)?")  # as text, with a comma perhaps


@dataclass(frozen=True, eq=False)
class Input:
    """A vector that is read from a checkpoint: what the graph and the plan know of it.

    `kind` is model, delta, mask or other. `layout` holds the entries that the source has, under their names in the
    recipe. `part` marks a source that is meant to have only some. `origin` is the place it is read from, which
    only the reading side understands, and `held` the bytes that each process holds that reads from there.
    """

    name: str
    layout: Layout
    kind: str = "model"
    part: bool = False
    origin: Any = None
    held: int = 0


class Vector:
    """A lazy vector: one node of the graph.

    Made by `weightmath.open`, by the functions and methods, and by the operators `+ - * / **`, comparisons and
    `& | ~` between vectors and numbers. Nothing is computed until it is saved.
    """

    __slots__ = ("__weakref__", "args", "domain", "op", "options", "source", "static")
    __array_ufunc__ = None  # numpy leaves `np.float32(2) * a` to the vector, and does not make an array of objects

    op: str
    args: tuple[Vector, ...]
    options: tuple[tuple[str, Any], ...]
    domain: Domain
    static: bool  # known without reading a tensor: numbers and tables of patterns
    source: Input | None

    def __getitem__(self, index: int) -> Vector:
        if self.op != "coefficients":
            raise RecipeError(f"`{brief(self)}` is one vector, not a list")
        if not -len(self.args[0].args) <= index < len(self.args[0].args):
            raise RecipeError(f"index {index} is outside a list of {len(self.args[0].args)}")
        return node("item", self, domain=self.domain, index=index % len(self.args[0].args))

    def option(self, name: str) -> Any:
        """The option of that name, or None."""
        for key, value in self.options:  # a few at most
            if key == name:
                return value
        return None

    @property
    def is_mask(self) -> bool:
        """Whether the values are truth values, which arithmetic counts as 0 and 1."""
        if self.op == "input":
            return self.source is not None and self.source.kind == "mask"
        if self.op == "by_name":
            return bool(self.option("rule").is_mask)
        return self.op in _MASKS or (self.op in ALIASES and self.args[0].is_mask)

    def __add__(self, other: Operand) -> Vector:
        return elementwise("add", self, other)

    def __radd__(self, other: Operand) -> Vector:
        return elementwise("add", other, self)

    def __sub__(self, other: Operand) -> Vector:
        return elementwise("subtract", self, other)

    def __rsub__(self, other: Operand) -> Vector:
        return elementwise("subtract", other, self)

    def __mul__(self, other: Operand) -> Vector:
        return elementwise("multiply", self, other)

    def __rmul__(self, other: Operand) -> Vector:
        return elementwise("multiply", other, self)

    def __truediv__(self, other: Operand) -> Vector:
        if is_number(other) and other == 0:
            raise RecipeError("division by zero")
        return elementwise("divide", self, other)

    def __rtruediv__(self, other: Operand) -> Vector:
        return elementwise("divide", other, self)

    def __pow__(self, exponent: float) -> Vector:
        if not is_number(exponent):
            raise RecipeError("an exponent must be a plain number")
        return elementwise("power", self, exponent)

    def __rpow__(self, other: Operand) -> Vector:
        raise RecipeError("an exponent must be a plain number", hint="exp(log(a) * x) raises a to a vector x")

    def __neg__(self) -> Vector:
        return elementwise("negative", self)

    def __lt__(self, other: Operand) -> Vector:
        return elementwise("less", self, other)

    def __gt__(self, other: Operand) -> Vector:
        return elementwise("greater", self, other)

    def __le__(self, other: Operand) -> Vector:
        return elementwise("at_most", self, other)

    def __ge__(self, other: Operand) -> Vector:
        return elementwise("at_least", self, other)

    def __eq__(self, other: object) -> Vector:  # type: ignore[override]
        return elementwise("equal", self, other)  # type: ignore[arg-type]

    def __ne__(self, other: object) -> Vector:  # type: ignore[override]
        return elementwise("unequal", self, other)  # type: ignore[arg-type]

    def __and__(self, other: Operand) -> Vector:
        return logic("both", self, other)

    def __rand__(self, other: Operand) -> Vector:
        return logic("both", other, self)

    def __or__(self, other: Operand) -> Vector:
        return logic("either", self, other)

    def __ror__(self, other: Operand) -> Vector:
        return logic("either", other, self)

    def __invert__(self) -> Vector:
        return logic("inverse", self)

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise RecipeError(
            "a lazy vector is neither true nor false", hint="combine masks with & | ~ and choose with where(mask, a, b)"
        )

    def __array__(self, *how: Any, **more: Any) -> NoReturn:
        hint = "mean, norm and the like are weightmath.functions, whose numbers weightmath.evaluate gives"
        raise RecipeError("a lazy vector has no numbers yet, and is no array", hint=hint)

    def __repr__(self) -> str:
        return show(self)


Operand = Vector | Table | float

# Operations that hand a value of one operand on, tensor by tensor, without computing.
ALIASES = ("declared", "cast", "only", "overlay")

_interned: WeakValueDictionary[Any, Vector] = WeakValueDictionary()


def node(op: str, *args: Vector, domain: Domain, source: Input | None = None, **options: Any) -> Vector:
    """The node of this operation: a new one, or the one that exists with the same operands and options."""
    chosen = tuple(sorted(options.items()))
    key = (op, tuple(map(id, args)), repr(chosen), domain, id(source))
    found = _interned.get(key)
    if found is None:
        found = Vector()
        found.op, found.args, found.options, found.domain, found.source = op, args, chosen, domain, source
        found.static = op in ("constant", "by_name") or (op in FORMULAS and all(arg.static for arg in args))
        _interned[key] = found
    return found


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a plain number, numpy's among them; truth values are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def number_hint(value: object) -> str | None:
    """How a number is written that is a text, perhaps with a comma; None for anything else."""
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        return None
    return f"a number stands without quotes and with a point: {value.replace(',', '.')}"


def constant(value: float) -> Vector:
    """A number as a node; RecipeError unless it is finite."""
    try:
        number = float(value)
    except OverflowError:  # of Python's whole numbers, which have no bounds
        number = math.inf
    if not math.isfinite(number):
        raise RecipeError(f"a number must be finite, not {number}")
    return node("constant", domain=Domain.CONSTANT, value=number)


def vector(value: object) -> Vector:
    """A value as an operand: vectors as they are, numbers and tables of numbers converted to nodes.

    RecipeError for what arithmetic cannot take: texts, lists, and matrices of numbers.
    """
    if isinstance(value, Vector):
        if value.op in ("gram", "coefficients"):
            raise RecipeError(f"`{brief(value)}` is several numbers, not one", hint="`show` prints it")
        return value
    if isinstance(value, Table):
        return by_name(value)
    if not is_number(value):
        raise RecipeError(f"{_describe(value)} cannot be used in arithmetic")
    return constant(value)


def by_name(rule: ByName) -> Vector:
    """A number or mask per tensor that its name decides."""
    return node("by_name", domain=Domain.TENSOR, rule=rule)


def _describe(value: object) -> str:
    if isinstance(value, str):
        return f"the text '{value}'"
    if isinstance(value, Sequence):
        return "a list"
    return f"`{value!r}`"


def elementwise(op: str, *operands: Operand) -> Vector:
    """An operation element by element; its domain is the finest of its operands'."""
    args = tuple(vector(operand) for operand in operands)
    return node(op, *args, domain=max(arg.domain for arg in args))


def logic(op: str, *operands: Operand) -> Vector:
    """`& | ~`, which take masks only."""
    args = tuple(vector(operand) for operand in operands)
    for arg in args:
        if not arg.is_mask:
            raise KindError(
                f"`{SYMBOLS[op]}` takes masks, and `{brief(arg)}` is not one",
                hint="comparisons make masks; put them in parentheses: (a > b) & (c > d)",
            )
    return node(op, *args, domain=max(arg.domain for arg in args))


def input_vector(source: Input) -> Vector:
    """The vector that is read from this input."""
    return node("input", domain=Domain.ELEMENT, source=source, name=source.name)


def topological(roots: Iterable[Vector]) -> list[Vector]:
    """All nodes below the roots, operands first, each once. Iterative: a sum of 3,000 terms is deep."""
    order: list[Vector] = []
    done: set[int] = set()
    stack: list[tuple[Vector, Iterator[Vector]]] = []
    for root in roots:
        if id(root) in done:
            continue
        done.add(id(root))
        stack.append((root, iter(root.args)))
        while stack:
            for arg in stack[-1][1]:
                if id(arg) not in done:
                    done.add(id(arg))
                    stack.append((arg, iter(arg.args)))
                    break
            else:
                order.append(stack.pop()[0])
    return order
