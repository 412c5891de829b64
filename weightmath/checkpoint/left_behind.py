"""What an output does not take over: in another container than the template's, all but the section."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from weightmath.checkpoint.description import Section, TensorInfo, dotted
from weightmath.checkpoint.ending import Form
from weightmath.checkpoint.safetensors import METADATA
from weightmath.checkpoint.torch_zip import TorchZip
from weightmath.layout import Patterns


def left_behind(section: Section, form: Form, drop: Sequence[str]) -> tuple[str, ...]:
    """Dotted paths of what such an output lacks of its template, but for what `drop` leaves out on purpose."""
    if form == "torch zip" and isinstance(section.checkpoint.source, TorchZip):
        return ()
    patterns = Patterns(drop)
    return tuple(path for path in _beside(section) if not patterns.matches(path))


def _beside(section: Section) -> Iterator[str]:
    """Everything beside a section and what holds it, and in it what is no tensor."""
    path, tree = section.path, section.checkpoint.tree
    for depth, part in enumerate(path):
        if not isinstance(tree, Mapping):
            return
        yield from (dotted((*path[:depth], key)) for key in tree if key != part)
        tree = tree[part]
    if isinstance(tree, Mapping):
        others = (key for key, value in tree.items() if not isinstance(value, TensorInfo))
        yield from (dotted((*path, key)) for key in others if path or key != METADATA)
