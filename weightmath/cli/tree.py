"""The content of a checkpoint as a tree: short, unless all of it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.text import Text
from rich.tree import Tree

from weightmath.checkpoint import Opaque, TensorInfo
from weightmath.cli.printable import printable
from weightmath.errors import counted

if TYPE_CHECKING:
    from weightmath.cli.page import Page

_ITEMS_SHOWN = 12
_DEPTH_SHOWN = 3
_TEXT_SHOWN = 80
_LINE = 72

Children = list[tuple[str, object]]


def print_tree(page: Page, tree: object, section: str | None, *, everything: bool = False) -> None:
    """Print the content of a checkpoint; the tensors of `section` (dotted path) are counted, not listed again."""
    page.show(_Trees(section, everything).tree("(top level): ", tree, ()))


class _Trees:
    def __init__(self, section: str | None, everything: bool) -> None:
        self.section = section
        self.items = None if everything else _ITEMS_SHOWN
        self.depth = 1_000 if everything else _DEPTH_SHOWN

    def tree(self, label: str, value: object, path: tuple[str, ...]) -> Tree:
        """A branch: what it is, and below it what it holds."""
        children = _children(value)
        line = _line(label, value, children) if path else None
        shown = printable(line or f"{label}{_described(value)}".removesuffix(": "))
        branch = Tree(Text(shown), guide_style="dim")
        if ".".join(path) == self.section:
            tensors = [child for child in children if isinstance(child[1], TensorInfo)]
            children = [child for child in children if not isinstance(child[1], TensorInfo)]
            branch.add(Text(f"{counted(len(tensors), 'tensor')}, listed above", style="dim"))
        elif line:
            return branch
        if len(path) >= self.depth:
            if children and isinstance(branch.label, Text):
                branch.label.append(f"  ({counted(len(children), 'item')}: --all prints them)", style="dim")
            return branch
        for key, child in children[: self.items]:
            branch.children.append(self.tree(f"{key}: " if key else "", child, (*path, key) if key else path))
        if self.items is not None and len(children) > self.items:
            rest = len(children) - self.items
            branch.add(Text(f"... and {rest:,} more: --all prints them", style="dim"))
        return branch


def _line(label: str, value: object, children: Children) -> str | None:
    """A container of a few plain values in one line, or None."""
    # These are tuples too.
    if isinstance(value, Opaque | TensorInfo) or not isinstance(value, Mapping | list | tuple):
        return None
    if any(_children(child) for _, child in children):
        return None
    if any(isinstance(child, TensorInfo) for _, child in children):
        return None
    named = [f"{key}: {_described(child)}" for key, child in children]
    plain = [_described(child) for _, child in children]
    if isinstance(value, Mapping):
        text = f"{{{', '.join(named)}}}"
    else:
        text = f"[{', '.join(plain)}]" if isinstance(value, list) else f"({', '.join(plain)})"
    return f"{label}{text}" if len(text) <= _LINE else None


def _children(value: object) -> Children:
    """What is shown below a value: key and content."""
    if isinstance(value, Opaque):
        if isinstance(value.content, Mapping | list | tuple):
            return _children(value.content)
        return [("", value.content)] if value.content is not None else []
    if isinstance(value, TensorInfo):
        return []
    if isinstance(value, Mapping):
        return [(str(key), item) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [(str(number), item) for number, item in enumerate(value)]
    return []


def _described(value: object) -> str:
    """A value in a few words."""
    if isinstance(value, TensorInfo):
        return f"tensor {' x '.join(map(str, value.entry.shape)) or '()'} {value.entry.dtype}"
    if isinstance(value, Opaque):
        return value.name
    if isinstance(value, Mapping):
        return "" if value else "{}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, str):
        value = value[: _TEXT_SHOWN + 1]
    text = f"{len(value)} bytes" if isinstance(value, bytes | bytearray) else repr(value)
    return text if len(text) <= _TEXT_SHOWN else f"{text[:_TEXT_SHOWN]}..."
