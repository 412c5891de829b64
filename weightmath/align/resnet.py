"""The spec of a residual network as torchvision, timm and the usual CIFAR code name its tensors.

All that is added up has one order: within a stage the last layers of its blocks, and the shortcut that begins it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from weightmath.align.spec import Move, Permutation, Spec
from weightmath.errors import LayoutError
from weightmath.layout import Layout

_BLOCK = re.compile(r"(.*\.|)(layer(\d+)\.(\d+))\.conv1\.weight")
_SHORTCUTS = ("downsample", "shortcut")
_HEADS = ("fc", "linear", "classifier")
_HINT = "write a spec (--spec FILE)"


def is_resnet(layout: Layout) -> bool:
    """Whether the names are those of a residual network."""
    return any(map(_BLOCK.fullmatch, layout.names))


def resnet(layout: Layout) -> Spec:
    """The spec of a residual network, with blocks of two or three convolutions and BatchNorm after each.

    LayoutError, naming it, for a tensor that such a network has not, for grouped convolutions and for shortcuts without
    weights between stages.
    """
    prefixes = {found[1] for name in layout.names if (found := _BLOCK.fullmatch(name))}
    if len(prefixes) != 1:
        raise LayoutError(f"there are {len(prefixes)} residual networks", hint=_HINT)
    return _Building(layout, prefixes.pop()).spec()


class _Building:
    def __init__(self, layout: Layout, prefix: str) -> None:
        self.layout, self.prefix = layout, prefix
        self.moves: defaultdict[str, list[Move]] = defaultdict(list)
        self.seen: set[str] = set()

    def spec(self) -> Spec:
        stream = "stem"
        self._made(stream, "conv1", "bn1")
        for block in self._blocks():
            stream = self._block(block, stream)
        self._head(stream)
        extra = [name for name in self.layout.names if name not in self.seen]
        if extra:
            raise LayoutError(f"`{extra[0]}` is no tensor of a residual network that is known", hint=_HINT)
        sizes = {name: self.layout[moves[0].tensor].shape[0] for name, moves in self.moves.items()}
        return Spec(tuple(Permutation(name, sizes[name], tuple(moves)) for name, moves in self.moves.items()))

    def _blocks(self) -> list[str]:
        found = [found for name in self.layout.names if (found := _BLOCK.fullmatch(name))]
        return [each[2] for each in sorted(found, key=lambda each: (int(each[3]), int(each[4])))]

    def _block(self, block: str, stream: str) -> str:
        """The layers of a block, which takes one order and gives the one that is returned."""
        convolutions = list(self._numbered(block))
        given = stream
        shortcut = next((f"{block}.{word}" for word in _SHORTCUTS if self._has(f"{block}.{word}.0.weight")), None)
        if shortcut is not None:
            given = f"stream from {block}"
            self._used(stream, f"{shortcut}.0.weight")
            self._made(given, f"{shortcut}.0", f"{shortcut}.1")
        takes = stream
        for number in convolutions:
            makes = given if number == convolutions[-1] else f"{block} after conv{number}"
            self._used(takes, f"{block}.conv{number}.weight")
            self._made(makes, f"{block}.conv{number}", f"{block}.bn{number}")
            takes = makes
        return given

    def _numbered(self, block: str) -> Iterator[int]:
        number = 1
        while self._has(f"{block}.conv{number}.weight"):
            yield number
            number += 1

    def _head(self, stream: str) -> None:
        heads = [word for word in _HEADS if self._has(f"{word}.weight")]
        for word in heads:
            self._used(stream, f"{word}.weight")
            self.seen |= {f"{self.prefix}{word}.weight", f"{self.prefix}{word}.bias"}

    def _has(self, name: str) -> bool:
        return self.prefix + name in self.layout

    def _made(self, order: str, layer: str, norm: str) -> None:
        """The outputs of a layer and of the norm after it have this order."""
        if self._has(f"{norm}.weight") and not self._has(f"{norm}.running_mean"):
            fact = f"`{self.prefix}{norm}` has no running statistics, and may be a norm of groups of channels"
            raise LayoutError(fact, hint=_HINT)
        for module in (layer, norm):
            for own in ("weight", "bias", "running_mean", "running_var"):
                name = f"{self.prefix}{module}.{own}"
                if name in self.layout:
                    self._add(order, Move(name, 0))

    def _used(self, order: str, name: str) -> None:
        """The inputs of a layer have this order."""
        self._add(order, Move(self.prefix + name, 1))

    def _add(self, order: str, move: Move) -> None:
        shape = self.layout[move.tensor].shape
        first = self.moves[order][0] if self.moves[order] else move
        size = self.layout[first.tensor].shape[first.axis]
        flattened = len(shape) == 2 and move.axis == 1 and shape[1] % size == 0
        if shape[move.axis] != size and not flattened:
            fact = f"axis {move.axis} of `{move.tensor}` has {shape[move.axis]} elements, and `{order}` {size} units"
            raise LayoutError(fact, hint=f"grouped, or a shortcut without weights? {_HINT}")
        self.seen.add(move.tensor)
        self.moves[order].append(move)
