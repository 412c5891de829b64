"""What a pickle says, as inert values: nothing here is called, imported, hashed or compared.

Plain values (None, bool, int, float, str, bytes) stand for themselves. Everything else is a node. A node knows
where in the pickle it was built, so that an edit can replace exactly those bytes.
"""

from __future__ import annotations

from typing import TypeAlias, TypeGuard

Value: TypeAlias = object
Pair: TypeAlias = "tuple[Value, Value, int, int]"  # key, value, first byte, byte after the pair


class Global:
    """The name of a class or function. It is never looked up."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Huge:
    """A whole number of more bytes than any honest one has: the time to print it would grow with the square."""

    __slots__ = ("nbytes",)

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes

    def __str__(self) -> str:
        return f"a number of {self.nbytes:,} bytes"


class Tuple:
    """A tuple. `starts` holds the first byte of each item, and last the byte after the last item."""

    __slots__ = ("items", "starts")

    def __init__(self, items: list[Value], starts: list[int]) -> None:
        self.items = items
        self.starts = starts

    def span(self, number: int) -> tuple[int, int]:
        """First byte of an item and the byte after it."""
        return self.starts[number], self.starts[number + 1]


class Persistent:
    """A reference to something outside the pickle; in torch's files, a storage."""

    __slots__ = ("pid",)

    def __init__(self, pid: Value) -> None:
        self.pid = pid


class Container:
    """What later opcodes may still fill: `items` are appended or added, `pairs` are set.

    `start` is the first byte that builds it, `end` the byte after the last opcode that changed it.
    """

    __slots__ = ("end", "items", "pairs", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end
        self.items: list[Value] = []
        self.pairs: list[Pair] = []


class List(Container):
    """A list."""

    __slots__ = ()


class Set(Container):
    """A set or frozenset; only `items` is used."""

    __slots__ = ()


class Dict(Container):
    """A dict, as pairs in the order in which they were set; a later pair of an equal key wins."""

    __slots__ = ()


class Call(Container):
    """An object that a real unpickler would make by calling `function(*arguments)`.

    `middle` is the first byte of the arguments; `states` are what `__setstate__` would get, one per BUILD.
    """

    __slots__ = ("arguments", "function", "middle", "states")

    def __init__(self, function: Value, arguments: Value, start: int, middle: int, end: int) -> None:
        super().__init__(start, end)
        self.function = function
        self.arguments = arguments
        self.middle = middle
        self.states: list[Value] = []


def is_count(value: Value) -> TypeGuard[int]:
    """Whether a value is a whole number that can be a size or a place: from 0 on, in 63 bits."""
    return type(value) is int and 0 <= value < 1 << 63
