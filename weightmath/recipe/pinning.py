"""Writes pins into the text of a recipe, and touches nothing else of it: comments, order and style stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from weightmath.errors import RecipeError
from weightmath.recipe.document import load, root_of, single_quoted
from weightmath.recipe.yaml_errors import index_of

Pins = Mapping[str, Mapping[str, Sequence[str]]]
_SPECIAL = set(",[]{}#:'\"&*!|>%@`")


class _Edit(NamedTuple):
    """Text that takes the place of the characters from `start` to `stop`."""

    start: int
    stop: int
    text: str


def with_pins(text: str, name: str, pins: Pins) -> str:
    """The recipe's text with these pins: by input, by key (`fingerprint`, `sha256`), one for each of its files.

    Pins that are there already are replaced. Fails with RecipeError, and the lines to write by hand, where an input is
    written in a way that cannot be edited.
    """
    source = text.removeprefix("\ufeff")
    mark = text[: len(text) - len(source)]
    inputs = next(value for key, value in root_of(source, name).value if key.value == "inputs")
    edits = [
        edit for key, value in inputs.value if key.value in pins for edit in _edits(source, value, pins[key.value])
    ]
    for edit in sorted(edits, reverse=True):
        source = source[: edit.start] + edit.text + source[edit.stop :]
    edited = mark + source
    _check(text, edited, name, pins)
    return edited


def _edits(source: str, node: yaml.Node, pins: Mapping[str, Sequence[str]]) -> Iterator[_Edit]:
    written = {key: _written(values) for key, values in pins.items()}
    if isinstance(node, yaml.ScalarNode):
        start, stop = index_of(node.start_mark), index_of(node.end_mark)
        rest = "".join(f", {key}: {value}" for key, value in written.items())
        yield _Edit(start, stop, f"{{path: {_in_braces(node, source[start:stop])}{rest}}}")
        return
    assert isinstance(node, yaml.MappingNode)
    there = {key.value: value for key, value in node.value}
    for key, value in written.items():
        if key in there:
            yield _Edit(index_of(there[key].start_mark), index_of(there[key].end_mark), value)
    new = {key: value for key, value in written.items() if key not in there}
    if new:
        yield _added(source, node, new)


def _added(source: str, node: yaml.MappingNode, new: Mapping[str, str]) -> _Edit:
    """New keys: in braces after the last value, else on lines of their own after the path."""
    if node.flow_style:
        last = index_of(node.value[-1][1].end_mark)
        return _Edit(last, last, "".join(f", {key}: {value}" for key, value in new.items()))
    key_node, value_node = next(pair for pair in node.value if pair[0].value in ("path", "glob"))
    ending = "\r\n" if "\r\n" in source else "\n"
    lines = [f"{' ' * key_node.start_mark.column}{key}: {value}" for key, value in new.items()]
    end = source.find("\n", index_of(value_node.end_mark))
    if end == -1:
        return _Edit(len(source), len(source), ending + ending.join(lines))
    return _Edit(end + 1, end + 1, "".join(line + ending for line in lines))


def _written(values: Sequence[str]) -> str:
    """Pins as YAML. Quoted: digits alone would be a number."""
    quoted = [f"'{value}'" for value in values]
    return quoted[0] if len(quoted) == 1 else f"[{', '.join(quoted)}]"


def _in_braces(node: yaml.ScalarNode, written: str) -> str:
    """A path as it can stand in braces."""
    if node.style is not None or not _SPECIAL & set(written):
        return written
    return single_quoted(node.value)


def _check(text: str, edited: str, name: str, pins: Pins) -> None:
    """RecipeError where the edited text does not say what was there and the pins."""
    before: dict[str, Any] = load(text, name).data
    wanted = dict(before["inputs"])
    for key, added in pins.items():
        old = wanted[key] if isinstance(wanted[key], dict) else {"path": wanted[key]}
        new = {pin: list(values) if len(values) > 1 else values[0] for pin, values in added.items()}
        wanted[key] = {**old, **new}
    try:
        found = load(edited, name).data
    except RecipeError:
        found = None
    if found != {**before, "inputs": wanted}:
        lines = "".join(f"\n  {key}: {pin}: {_written(v)}" for key, added in pins.items() for pin, v in added.items())
        raise RecipeError("the inputs are written in a way that cannot be edited", where=name, hint=f"add{lines}")
