"""The parts of a recipe as the text that a person would have written."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping

from weightmath.algebra.show import shown_number
from weightmath.mergekit.pieces import Parameter
from weightmath.mergekit.translate import Parts
from weightmath.recipe.document import scalar, single_quoted

_WIDTH = 118
_GLUE = "\0"
_PLAIN = re.compile(r"[A-Za-z0-9_./~][\w./~@+=:-]*")


def text_of(parts: Parts, heading: str) -> str:
    """The recipe; `heading` is its first comment."""
    lines = [
        *_comment(heading, ""),
        *(line for key, why in parts.left_out for line in _comment(f"Left out: {key}; {why}.", "")),
    ]
    lines += ["inputs:", *(f"  {name}: {_quoted(path)}" for name, path in parts.inputs.items())]
    if parts.params:
        lines += ["params:", *(line for pair in parts.params.items() for line in _parameter(*pair))]
    lines += ["let:"]
    for name, entry in parts.let.items():
        lines += [line for note in entry.notes for line in _comment(note, "  ")]
        lines += _expression(name, entry.expression)
    lines += [line for note in parts.notes for line in _comment(note, "")]
    lines += [f"{key}: {value}" for key, value in parts.settings.items()]
    lines += ["save:", *(f"  {_quoted(path)}: {value}" for path, value in parts.saves.items())]
    return "\n".join(lines) + "\n"


def _comment(text: str, indent: str) -> list[str]:
    return _wrapped(text, f"{indent}# ", f"{indent}# ")


def _expression(name: str, text: str) -> list[str]:
    """An entry of `let`; a long one goes on in further lines, which YAML joins, and products stay together."""
    joined = re.sub(r" ([*/]) |, (?=scope)", lambda found: found.group().replace(" ", _GLUE), text)
    return [line.replace(_GLUE, " ") for line in _wrapped(f"{name}: {joined}", "  ", "    ")]


def _wrapped(text: str, first: str, later: str) -> list[str]:
    """The lines of a text, which begin with `first` or `later`; words are never cut."""
    wrapper = textwrap.TextWrapper(
        _WIDTH, initial_indent=first, subsequent_indent=later, break_long_words=False, break_on_hyphens=False
    )
    return wrapper.wrap(text)


def _parameter(name: str, value: Parameter) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield f"  {name}:"
        yield from (f"    {_pattern(pattern)}: {_number(number)}" for pattern, number in value.items())
    elif isinstance(value, list):
        yield f"  {name}: [{', '.join(map(shown_number, value))}]"
    else:
        yield f"  {name}: {shown_number(value)}"


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else shown_number(value)


def _pattern(pattern: str) -> str:
    return single_quoted(pattern) if "\\" in pattern else json.dumps(pattern)


def _quoted(text: str) -> str:
    """A path as YAML, without quotes where it needs none."""
    bare = _PLAIN.fullmatch(text) and scalar(text) == text and not text.endswith(":")
    return text if bare else single_quoted(text)
