"""The tree that an expression is: its nodes, the walk over them, and the excerpt that a message shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")


@dataclass(frozen=True)
class Node:
    """A part of an expression; `start` and `end` say which characters of the text it is."""

    start: int
    end: int


@dataclass(frozen=True)
class Literal(Node):
    """A number, a string, `true` or `false`."""

    value: float | str | bool


@dataclass(frozen=True)
class Name(Node):
    """The name of an input, a parameter or an entry of `let`."""

    name: str


@dataclass(frozen=True)
class ListOf(Node):
    """`[a, b]`."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Index(Node):
    """`items[position]`."""

    items: Node
    position: int


@dataclass(frozen=True)
class Unary(Node):
    """`-x` or `~x`."""

    sign: str
    operand: Node


@dataclass(frozen=True)
class Binary(Node):
    """Two operands and the sign between them."""

    sign: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Call(Node):
    """`function(arguments, keyword=argument)`."""

    function: str
    arguments: tuple[Node, ...]
    keywords: tuple[tuple[str, Node], ...]


def children(node: Node) -> tuple[Node, ...]:
    """The operands of a node, in the order in which they are written."""
    if isinstance(node, Binary):
        return (node.left, node.right)
    if isinstance(node, Unary):
        return (node.operand,)
    if isinstance(node, Call):
        return node.arguments + tuple(value for _, value in node.keywords)
    if isinstance(node, ListOf):
        return node.items
    return (node.items,) if isinstance(node, Index) else ()


def postorder(root: Node) -> Iterator[Node]:
    """Every node below `root`, operands before what they are used in. Without recursion: a long sum is deep."""
    order, stack = [], [root]
    while stack:
        current = stack.pop()
        order.append(current)
        stack.extend(children(current))
    return reversed(order)


def excerpt(text: str, start: int, end: int) -> str:
    """The line of `text` that holds `start`, with carets up to `end` below it; a long line is cut around them."""
    first = text.rfind("\n", 0, start) + 1
    last = text.find("\n", start)
    line = "".join(letter if letter.isprintable() else " " for letter in text[first : last if last >= 0 else len(text)])
    left, right = start - first, max(min(end - first, len(line)), start - first + 1)
    if len(line) > 100:
        cut = max(0, left - 40)
        dots = "..." if cut else ""
        line = dots + line[cut : cut + 90] + ("..." if cut + 90 < len(line) else "")
        left, right = left - cut + len(dots), min(right - cut + len(dots), len(line))
    return f"  {line}\n  {' ' * left}{'^' * max(1, right - left)}"
