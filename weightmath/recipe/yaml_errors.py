"""What PyYAML says, in words that help: the line, a caret, the fact and the way out."""

from __future__ import annotations

import re
from typing import Any

import yaml

from weightmath.errors import RecipeError
from weightmath.expression.nodes import excerpt

# Causes that are recognised by ourselves, or in PyYAML's text: fact, way out. `{}` is the word at the place.
_CAUSES: dict[str, tuple[str, str | None]] = {
    "anchor": ("an unquoted `{0}` is an alias or anchor of YAML", 'quote it: "{0}"'),
    "tag": ("an unquoted `{0}` is a tag of YAML", 'quote it: "{0}"'),
    "depth": ("the recipe is nested too deep", None),
    "key": ("a key is missing, or is not plain text", "write `name: value`"),
    "escape": (
        "inside double quotes YAML changes backslashes",
        "use single quotes, where a backslash is plain: 're:blocks\\.\\d+'",
    ),
    "open": ("what opens here is never closed", None),
    "mapping values are not allowed here": (
        "YAML finds a second `key: value` here",
        "quote a value that holds a colon and a space; else look for a missing colon or a wrong indent just above",
    ),
    "found character '\\t'": ("a tab cannot indent YAML", "use spaces"),
    "that cannot start any token": ("an unquoted value cannot begin with `{0}`", 'quote it: "{0}"'),
    "could not find expected ':'": ("this line is no `name: value`", "a colon and a space belong after the name"),
    "<block mapping start>": (
        "this line is indented unlike its neighbours",
        "entries of one block begin in one column",
    ),
    "expected <block end>": (
        "for YAML the value ends before this",
        "quote the whole value where it begins with a bracket or a quote: '[a, b][0]'",
    ),
    "expected ',' or": (
        "inside braces and brackets YAML reads `[ ] {{ }} ,` itself",
        "give the entry a line of its own, or quote the expression",
    ),
    "another document": ("a recipe is one YAML document, and here another begins", "remove the `---`"),
}
# Causes whose mark shows where the scanner gave up, though the fault is where it began.
_UNCLOSED = ("found unexpected end of stream", "'<stream end>'")


def located(cause: str, source: str, index: int, name: str) -> RecipeError:
    """The error for one of the causes above, at the character `index` of the source."""
    fact, hint = _CAUSES[cause]
    found = re.match(r"[^\s,\]}]+", source[index:])
    word = found.group().removesuffix(":") if found else ""
    width = {"escape": 2, "open": 1}.get(cause, max(1, len(word)))
    return _error(fact.format(word), hint and hint.format(word), source, range(index, index + width), name=name)


def translated(error: yaml.YAMLError, source: str, name: str) -> RecipeError:
    """PyYAML's error as one of ours; its own words where the cause is none that we know."""
    if isinstance(error, yaml.reader.ReaderError):
        index = int(error.position)
        fact = f"the character {source[index]!r} does not belong in a text file"
        return _error(fact, None, source, range(index, index + 1), name=name)
    assert isinstance(error, yaml.MarkedYAMLError)
    problem, context = error.problem or "", error.context or ""
    index = index_of(error.problem_mark or error.context_mark)
    begun = index_of(error.context_mark or error.problem_mark)
    if context in ("while scanning an alias", "while scanning an anchor"):
        return located("anchor", source, begun, name)
    if "unknown escape character" in problem:
        return located("escape", source, index - 1, name)
    if any(words in problem for words in _UNCLOSED):
        return located("open", source, begun, name)
    for cause in _CAUSES:
        if cause in problem:
            return located(cause, source, index, name)
    return _error(f"invalid YAML: {problem or context}", None, source, range(index, index + 1), name=name)


def index_of(mark: Any) -> int:
    """The character that a mark of PyYAML stands at; 0 without one."""
    return int(mark.index) if mark else 0


def _error(fact: str, hint: str | None, source: str, span: range, *, name: str) -> RecipeError:
    start = source.rfind("\n", 0, span.start) + 1
    place = f"{name}:{source.count(chr(10), 0, start) + 1}:{span.start - start + 1}"
    return RecipeError(f"{fact}\n{excerpt(source, span.start, span.stop)}", where=place, hint=hint)
