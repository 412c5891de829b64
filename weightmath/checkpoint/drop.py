"""Leaves entries out of a torch zip: a description of the template as if they had never been in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

from weightmath.checkpoint.description import PathKey, Section, dotted
from weightmath.checkpoint.edits import editable
from weightmath.checkpoint.splice import Edit, splice
from weightmath.checkpoint.structure import Mapping
from weightmath.checkpoint.torch_zip import TorchZip, describe
from weightmath.errors import OutputError, nearest
from weightmath.layout import Patterns


def without(section: Section, drop: Sequence[str], keep: Literal["all", "weights"]) -> Section:
    """The same section, in a checkpoint whose pickle lacks what is dropped; its records are still all there.

    drop    patterns of entries, by dotted path
    keep    "weights": nothing but the section and what holds it
    Fails   OutputError if a pattern matches nothing, or what is merged
    """
    if not drop and keep == "all":
        return section
    checkpoint = section.checkpoint
    source: TorchZip = checkpoint.source
    whole = editable(source.pickle)
    edits = list(_matching(whole.mappings, drop, section.path))
    if keep == "weights":
        edits += _beside(whole.mappings, section.path)
    pickle = splice(whole.pickle, edits)
    left = describe(pickle)
    source = replace(source, pickle=pickle, structure=left)
    return replace(checkpoint, tensors=left.tensors, tree=left.tree, outlines=left.outlines, source=source).section(
        section.name
    )


def _matching(mappings: Sequence[Mapping], patterns: Sequence[str], kept: tuple[PathKey, ...]) -> Iterator[Edit]:
    compiled = Patterns(patterns)
    used: set[int] = set()
    for mapping in mappings:
        for key, pair in zip(mapping.keys, mapping.pairs, strict=True):
            path = (*mapping.path, key)
            number = compiled.first(dotted(path))
            if number is None:
                continue
            used.add(number)
            if path == kept[: len(path)]:
                raise OutputError(
                    f"`drop: {patterns[number]}` matches `{dotted(path)}`, which holds the merged tensors"
                )
            yield _drop(pair[2], pair[3], dotted(path))
    # An earlier pattern may have taken what one of the others matches as well.
    others = [pattern for number, pattern in enumerate(patterns) if number not in used]
    check_matches(others, (dotted((*mapping.path, key)) for mapping in mappings for key in mapping.keys))


def is_dropped(path: tuple[PathKey, ...], patterns: Patterns) -> bool:
    """Whether patterns match what hangs at a path, or what holds it."""
    return any(patterns.matches(dotted(path[:depth])) for depth in range(1, len(path) + 1))


def check_matches(drop: Sequence[str], entries: Iterable[str]) -> None:
    """OutputError for a pattern that matches none of the entries, dotted paths."""
    known = list(entries) if drop else []
    for pattern in drop:
        if not any(map(Patterns([pattern]).matches, known)):
            hint = (
                _from_the_top(pattern, known) or nearest(pattern, known) or "`weightmath inspect` shows what there is"
            )
            raise OutputError(f"`drop: {pattern}` matches nothing in the template", hint=hint)


def _from_the_top(pattern: str, entries: Sequence[str]) -> str | None:
    """What to say where a pattern matches what hangs below some entry, as it is named there."""
    inside = Patterns([pattern])
    for entry in entries:
        words = entry.split(".")
        for depth in range(1, len(words)):
            if inside.matches(".".join(words[depth:])):
                return f'entries are named from the top: drop: "{".".join(words[:depth])}.{pattern}"'
    return None


def _beside(mappings: Sequence[Mapping], kept: tuple[PathKey, ...]) -> Iterator[Edit]:
    for mapping in mappings:
        depth = len(mapping.path)
        if depth < len(kept) and mapping.path == kept[:depth]:
            for key, pair in zip(mapping.keys, mapping.pairs, strict=True):
                if key != kept[depth]:
                    yield _drop(pair[2], pair[3], dotted((*mapping.path, key)))


def _drop(start: int, stop: int, name: str) -> Edit:
    if start == stop:
        raise OutputError(f"`{name}` cannot be dropped: it was saved by Python 2", hint="save it again with torch.save")
    return Edit(start, stop, b"")
