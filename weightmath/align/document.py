"""Specs as text: a small YAML file, permutation by permutation, a tensor a line, and on which axis it moves.

    units of <model*>h.<i>.mlp:
      <model*>h.<i>.mlp.fc.weight: 0           # rows
      <model*>h.<i>.mlp.fc.bias?: 0            # may be lacking
      <model*>h.<i>.mlp.out.weight: 1          # columns
    heads of <model*>h.<i>.attn:
      <model*>h.<i>.attn.qkv.weight: 0 in 3 parts of <heads> blocks
      <model*>h.<i>.attn.out.weight: 1 in <heads> blocks
      <model*>h.<i>.attn.out.bias?: stays
      <model*>h.<i>.attn.*: nothing else       # a tensor that the lines above do not name is refused

`<i>` stands for a part of a name without dots, `<model*>` for any beginning, be it none; the tensors of one permutation
have the same. The first line of a permutation says for which names it is there. `<heads>` is a number to be given: of
the heads of queries. Those of keys and values, which groups of queries may share, are as wide; how many they are,
`<kv_heads>`, follows. What moves then is whole groups, on all axes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weightmath.align.spec import Move, Permutation, Spec
from weightmath.errors import LayoutError, RecipeError
from weightmath.layout import Layout
from weightmath.recipe.document import Document, load

_AXIS = re.compile(r"(\d+)(?: in (?:(\d+) parts of )?(\d+|<heads>|<kv_heads>) blocks)?")
_VARIABLE = re.compile(r"<(\w+)(\*?)>")
_BEGINNING, _PART = r"(?:.*\.)?", r"[^.]+"
HEADS, KV_HEADS = "<heads>", "<kv_heads>"
STAYS, COMPLETE = "stays", "nothing else"
_EXAMPLE = "for example\n  units of fc1:\n    fc1.weight: 0\n    fc1.bias: 0\n    fc2.weight: 1"
_SHARED = "do queries share keys and values? in a spec of your own these are `in <kv_heads> blocks`"
_NUMBER = "--heads says how many heads of queries there are, `num_attention_heads` in config.json"
NO_HEADS = "how many heads there are is in no name or shape: --heads says it"


@dataclass(frozen=True)
class Axis:
    """An axis that moves; `blocks` is a number, "<heads>", "<kv_heads>", or None: as many as elements."""

    number: int
    parts: int
    blocks: str | None


@dataclass(frozen=True)
class Line:
    """A tensor of a permutation: the pattern of its name, and the axes that move, none where it stays.

    complete   this is no tensor: all whose names begin with the pattern are in the permutation's other lines
    """

    pattern: str
    optional: bool
    complete: bool
    axes: tuple[Axis, ...]
    where: str


def parse(text: str, name: str) -> dict[str, tuple[Line, ...]]:
    """The lines of each permutation; RecipeError, with the line, for what is no spec."""
    document = load(text, name, "spec", _EXAMPLE)
    return {title: tuple(_lines(document, title, lines)) for title, lines in document.data.items()}


def _lines(document: Document, title: str, lines: Any) -> Iterator[Line]:
    if not isinstance(lines, dict) or not lines:
        fact = "a permutation has a line for each axis that moves"
        raise RecipeError(fact, where=document.where((title,)), hint=_EXAMPLE)
    for key, value in lines.items():
        where = document.where((title, key))
        complete = value == COMPLETE
        pattern = key.removesuffix("*" if complete else "?")
        if set(_VARIABLE.findall(pattern)) != set(_VARIABLE.findall(title)):
            fact = f"`{pattern}` and its permutation's name, `{title}`, have different <variables>"
            raise RecipeError(fact, where=where, hint="the name of a permutation has those of its tensors")
        values = [] if value in (STAYS, COMPLETE) else value if isinstance(value, list) else [value]
        axes = tuple(_axis(each, where) for each in values)
        yield Line(pattern, key != pattern, complete, axes, where)


def _axis(value: Any, where: str) -> Axis:
    found = _AXIS.fullmatch(str(value))
    if not found:
        hint = "an axis: 0, `0 in 12 blocks`, `0 in 3 parts of <heads> blocks`, [0, 1]; or `stays`"
        raise RecipeError(f"`{value}` is no axis", where=where, hint=hint)
    number, parts, blocks = found.groups()
    return Axis(int(number), int(parts or 1), blocks)


def bind(parsed: Mapping[str, tuple[Line, ...]], layout: Layout, heads: int | None) -> Spec:
    """The permutations of a model; without a number of heads, those that need it are left out.

    LayoutError where a permutation is not there, lacks a tensor, or where there is something else.
    """
    permutations: list[Permutation] = []
    left_out: list[tuple[str, str]] = []
    for title, lines in parsed.items():
        found = list(_matches(lines[0].pattern, layout))
        if not found:
            hint = "is it another family? `weightmath inspect MODEL --all` lists the names"
            raise LayoutError(
                f"no floating-point tensor is called `{lines[0].pattern}`", where=lines[0].where, hint=hint
            )
        for variables in found:
            name = _filled(title, variables)
            there = _tensors(name, lines, variables, layout)
            if heads is None and any(axis.blocks in (HEADS, KV_HEADS) for line in lines for axis in line.axes):
                left_out.append((name, NO_HEADS))
            else:
                permutations.append(_permutation(name, there, layout, heads))
    return Spec(tuple(permutations), tuple(left_out))


def is_there(parsed: Mapping[str, tuple[Line, ...]], layout: Layout) -> bool:
    """Whether a model has any permutation of a spec, by the first line of each."""
    return any(next(_matches(lines[0].pattern, layout), None) is not None for lines in parsed.values())


def _tensors(name: str, lines: Sequence[Line], variables: Mapping[str, str], layout: Layout) -> list[tuple[Line, str]]:
    """The tensors of one permutation that a model has; LayoutError for one that it lacks, or has besides."""
    filled = [(line, _filled(line.pattern, variables)) for line in lines]
    for line, tensor in filled:
        if tensor not in layout and not line.optional and not line.complete:
            raise LayoutError(f"there is no floating-point tensor `{tensor}` for `{name}`", where=line.where)
    named = {tensor for _, tensor in filled}
    for line, start in filled:
        others = [own for own in layout.names if line.complete and own.startswith(start) and own not in named]
        if others:
            fact = f"`{others[0]}` is not in `{name}`, where the spec says there is nothing else"
            raise LayoutError(fact, where=line.where, hint="a spec of your own can say how it moves, or that it stays")
    return [(line, tensor) for line, tensor in filled if tensor in layout and not line.complete]


def _matches(pattern: str, layout: Layout) -> Iterator[dict[str, str]]:
    """What the variables of a pattern stand for, for each tensor that it matches."""
    texts = re.split(r"<\w+\*?>", pattern)
    expression = re.escape(texts[0])
    for (name, star), text in zip(_VARIABLE.findall(pattern), texts[1:], strict=True):
        group = f"(?P<{name}>{_BEGINNING if star else _PART})"
        expression += (f"(?P={name})" if group in expression else group) + re.escape(text)
    compiled = re.compile(expression)
    return (found.groupdict() for name in layout.names if (found := compiled.fullmatch(name)))


def _filled(text: str, variables: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda found: variables[found[1]], text)


def _permutation(name: str, there: list[tuple[Line, str]], layout: Layout, heads: int | None) -> Permutation:
    sizes: dict[Move, int] = {}
    numbers = None if heads is None else _heads(name, there, layout, heads)
    for line, tensor in there:
        for axis in line.axes:
            length = _length(line, tensor, axis, layout)
            blocks = numbers if axis.blocks in (HEADS, KV_HEADS) else axis.blocks
            sizes[Move(tensor, axis.number, axis.parts)] = length if blocks is None else int(blocks)
    where = there[0][0].where
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{size} on axis {move.axis} of `{move.tensor}`" for move, size in sizes.items())
        raise LayoutError(f"`{name}` has units of different numbers: {told}", where=where)
    if not sizes or 0 in sizes.values():
        raise LayoutError(f"`{name}` moves nothing", where=where)
    return Permutation(name, next(iter(sizes.values())), tuple(sizes))


def _length(line: Line, tensor: str, axis: Axis, layout: Layout) -> int:
    shape = layout[tensor].shape
    if axis.number >= len(shape):
        raise LayoutError(f"`{tensor}` has shape {shape}, and no axis {axis.number}", where=line.where)
    return shape[axis.number]


def _heads(name: str, there: list[tuple[Line, str]], layout: Layout, heads: int) -> int:
    """How many blocks change places: heads of keys and values, each with all queries that share it.

    Heads are as wide on one axis of queries as on another and on those of keys; else what moves would be parts of
    heads, or queries away from their keys, which no shape would show later on. One number a head has no width.
    """
    found: dict[str, list[tuple[str, int, str]]] = {HEADS: [], KV_HEADS: []}
    for line, tensor in there:
        for axis in line.axes:
            length = _length(line, tensor, axis, layout) // axis.parts
            if axis.blocks == KV_HEADS or (axis.blocks == HEADS and (axis.parts > 1 or length != heads)):
                found[axis.blocks].append((f"axis {axis.number} of `{tensor}`", length, line.where))
    queries, keys = found[HEADS] or [("each", heads, "")], found[KV_HEADS]
    of_queries, length, _ = queries[0]
    for of_others, other, place in queries[1:]:
        if other != length:
            fact = f"`{name}` has {length} elements for its heads on {of_queries}, and {other} on {of_others}"
            raise LayoutError(fact, where=place, hint=_SHARED)
    if not keys:
        return heads
    of_keys, shared, where = keys[0]
    if not length or not shared or length % heads or shared * heads % length or length % shared:
        fact = f"`{name}`: with {heads} heads of queries, {length} elements on {of_queries} and {shared} on {of_keys}"
        raise LayoutError(f"{fact} are no whole heads", where=where, hint=_NUMBER)
    return shared * heads // length


def text_of(spec: Spec, layout: Layout) -> str:
    """The spec as YAML, with the names of the model."""
    lines = []
    for permutation in spec.permutations:
        lines.append(f"{permutation.name}:")
        of_tensor: dict[str, list[str]] = {}
        for move in permutation.moves:
            of_tensor.setdefault(move.tensor, []).append(_axis_text(move, permutation.size, layout))
        for name, axes in of_tensor.items():
            written = axes[0] if len(axes) == 1 else "[" + ", ".join(axes) + "]"
            lines.append(f"  {name}: {written}")
    return "\n".join(lines) + "\n"


def _axis_text(move: Move, size: int, layout: Layout) -> str:
    if layout[move.tensor].shape[move.axis] == size:
        return str(move.axis)
    parts = f"{move.parts} parts of " if move.parts > 1 else ""
    return f"{move.axis} in {parts}{size} blocks"
