"""YAML text of a recipe -> plain data whose every value knows its line.

PyYAML scans and parses; what its scalars mean is decided here, because its YAML 1.1 surprises: `1e-3` is a number and
`yes`, `on` and `12:30` are text, whole numbers are decimal, keys are always text, no key is given twice. Aliases,
anchors and tags are refused: a recipe has `params` and `let`, and in it `*` begins a pattern.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from weightmath.errors import RecipeError
from weightmath.expression.nodes import excerpt
from weightmath.recipe.yaml_errors import index_of, located, translated

MAX_DEPTH = 32
Path = tuple[str | int, ...]

_WHOLE = re.compile(r"[-+]?[0-9]{1,300}")
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_WORDS = {
    "": None,
    "~": None,
    "null": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}


@dataclass(frozen=True)
class Document:
    """The data of a recipe and where in its text each part stands.

    `data` consists of dict, list, str, int, float, bool and None. `lines` has the line, counted from 1, of every key
    and list item by its path, ("let", "merged") or ("show", 0); it is empty for what was not read from a file.
    """

    name: str
    data: dict[str, Any]
    lines: Mapping[Path, int]

    def where(self, path: Path) -> str:
        """The place for a message, `merge.yaml:9: let.merged`: the path as far as the text has it."""
        if not self.lines:
            return f"{self.name}: {_dotted(path)}" if path else self.name
        known = next(path[:n] for n in range(len(path), -1, -1) if path[:n] in self.lines or n == 0)
        place = f"{self.name}:{self.lines.get(known, 1)}"
        return f"{place}: {_dotted(known)}" if known else place


def _dotted(path: Path) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")


def scalar(text: str) -> str | float | bool | None:
    """The value of an unquoted scalar: number, `true`, `false`, nothing, else the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


def single_quoted(text: str) -> str:
    """A text in quotes between which YAML changes nothing."""
    return "'" + text.replace("'", "''") + "'"


_LEAST = "it has at least `inputs:`, and `save:` or `show:`"


def load(text: str, name: str, what: str = "recipe", least: str = _LEAST) -> Document:
    """The document that a YAML text holds; `name` is what messages call it, `what` what it is, `least` what it has.

    Fails with RecipeError, with line, column, the line itself and the way out, for text that is not YAML, repeated
    keys, aliases, anchors, tags, escapes that double quotes would change, expressions that YAML cuts at their commas,
    and anything but a mapping at the top.
    """
    source = text.removeprefix("\ufeff")
    reading = _Reading(source, name, {})
    return Document(name, reading.value(root_of(source, name, what, least), ()), reading.lines)


def root_of(source: str, name: str, what: str = "recipe", least: str = _LEAST) -> yaml.MappingNode:
    """The nodes of a YAML text, a mapping at the top, with their places in the text. Fails as `load` does."""
    try:
        root = _Loader(source, name).get_single_node()
    except yaml.YAMLError as error:
        raise translated(error, source, name) from None
    if not isinstance(root, yaml.MappingNode):
        fact = f"the {what} is empty" if root is None else f"a {what} is a mapping, and this is none"
        raise RecipeError(fact, where=name, hint=least)
    return root


class _Loader(yaml.SafeLoader):
    """PyYAML's scanner, parser and composer; aliases, anchors, tags and deep nesting refused as they are met."""

    def __init__(self, source: str, name: str) -> None:
        self.source, self.file, self.depth = source, name, 0
        super().__init__(source)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        start = index_of(event.start_mark)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise located("anchor", self.source, start, self.file)
        if getattr(event, "tag", None) is not None:
            raise located("tag", self.source, start, self.file)
        if self.depth >= MAX_DEPTH:
            raise located("depth", self.source, start, self.file)
        self.depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


@dataclass(frozen=True)
class _Reading:
    """From nodes to plain data, noting lines."""

    source: str
    name: str
    lines: dict[Path, int]

    def value(self, node: yaml.Node, path: Path) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node)
        assert isinstance(node, yaml.CollectionNode)
        if node.flow_style:
            self.check_commas(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
        return self.mapping(node, path)

    def mapping(self, node: yaml.Node, path: Path) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.key(key_node)
            at, line = (*path, key), key_node.start_mark.line + 1
            if key in data:
                first = self.lines[at]
                dotted = Document(self.name, {}, {at: line})
                raise RecipeError(
                    f"`{key}` is given twice, first in line {first}", where=dotted.where(at), hint="keep one"
                )
            self.lines[at] = line
            data[key] = self.value(value_node, at)
        return data

    def key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode) or (node.style is None and node.value == ""):
            raise located("key", self.source, node.start_mark.index, self.name)
        self.check_escapes(node)
        return str(node.value)

    def scalar(self, node: yaml.ScalarNode) -> Any:
        self.check_escapes(node)
        return scalar(node.value) if node.style is None else node.value

    def check_escapes(self, node: yaml.ScalarNode) -> None:
        """Refuse what double quotes would change: in a pattern or an expression a backslash is plain."""
        if node.style != '"':
            return
        start = node.start_mark.index
        for found in re.finditer(r"\\(.)", self.source[start : node.end_mark.index], re.DOTALL):
            if found.group(1) not in '"\\':
                raise located("escape", self.source, start + found.start(), self.name)

    def check_commas(self, node: yaml.Node, path: Path) -> None:
        """Refuse `{out: lerp(a, b, 0.5)}`, which YAML reads as `out: "lerp(a"`, `b:` and `"0.5)":`."""
        parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        for part in parts:
            if not isinstance(part, yaml.ScalarNode) or part.style is not None or "(" not in part.value:
                continue
            start = index_of(part.start_mark)
            written = _bracketed(self.source[start : index_of(node.end_mark)])
            if "," in written:
                raise RecipeError(
                    f"inside braces and brackets YAML cuts `{written}` at its commas\n"
                    f"{excerpt(self.source, start, start + len(written))}",
                    where=f"{self.name}:{part.start_mark.line + 1}: {_dotted(path)}",
                    hint=f"give it a line of its own, or quote it: {single_quoted(written)}",
                )


def _bracketed(text: str) -> str:
    """The text up to the first comma or closing bracket that stands outside round brackets; "" if one stays open."""
    depth = 0
    for i, letter in enumerate(text):
        if depth == 0 and letter in ",}]\n":
            return text[:i].strip()
        depth += (letter == "(") - (letter == ")")
    return ""
