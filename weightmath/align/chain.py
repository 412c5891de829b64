"""The spec of a plain chain of layers: multilayer perceptrons, VGG, and what is built like them.

Each linear or convolutional layer feeds the next one alone; biases and norms move with the layer that they follow.
Numbers give the order of layers (`fc1`, `fc2`; `features.0`, `features.3`), and usual names that of groups (`features`
before `classifier`), where shapes allow that one alone. Whatever could be something else is refused: an actor and a
critic may fit together too. What no name or shape can show is a residual connection around layers of equal width: for
such a model write a spec.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations

from weightmath.align.spec import Move, Permutation, Spec
from weightmath.errors import LayoutError
from weightmath.layout import Layout

_OF_NORMS = ("weight", "bias", "running_mean", "running_var")
_NUMBER = re.compile(r"\d+")
_BRANCHES = re.compile(r"att|emb|skip|shortcut|downsample|residual|block|gate|query|key|value", re.IGNORECASE)
_MOST_GROUPS = 5
_ENDS = frozenset("classifier decoder fc final head last linear logits out output".split())
_BEGINS = frozenset(
    "backbone body conv encoder fc features first hidden in input layer layers lin linear mlp net stem trunk".split()
)
_HINT = "write a spec (--spec FILE), or name its family"


@dataclass(frozen=True)
class _Module:
    """What lies under one name: a layer if its weight has two axes or more, else a norm."""

    name: str
    tensors: tuple[str, ...]
    outputs: int
    inputs: int | None  # None: a norm
    axes: int  # of its weight

    @property
    def group(self) -> str:
        """The name without its number."""
        return _NUMBER.sub("#", self.name)

    @property
    def word(self) -> str:
        """What the group is called: `features` of `model.features.#`."""
        return next((part for part in reversed(re.split(r"[.#_]", self.group)) if part), "")

    @property
    def number(self) -> int:
        found = _NUMBER.search(self.name)
        return int(found[0]) if found else 0


def chain(layout: Layout) -> Spec:
    """The spec of a chain. LayoutError, naming what leaves doubt, for anything else."""
    modules = _modules(layout)
    layers = _in_order([module for module in modules if module.inputs is not None])
    if len(layers) < 2:
        raise LayoutError("there are no two layers that follow each other", hint=_HINT)
    norms = _norms(modules, layers)
    permutations = []
    for one, following in pairwise(layers):
        moves = [Move(name, 0) for name in (*one.tensors, *norms.get(one.name, ()))]
        moves.append(Move(f"{following.name}.weight", 1))
        permutations.append(Permutation(f"units of {one.name}", one.outputs, tuple(moves)))
    return Spec(tuple(permutations))


def _modules(layout: Layout) -> list[_Module]:
    found: dict[str, list[str]] = {}
    for name in layout.names:
        module, _, own = name.rpartition(".")
        if own not in _OF_NORMS:
            raise _doubt(name, "no weight, bias or running statistic")
        if _BRANCHES.search(module):
            raise _doubt(name, "by its name perhaps not part of a plain chain")
        if len(_NUMBER.findall(module)) > 1:
            raise _doubt(name, "nested: around an inner part there may be a residual connection")
        found.setdefault(module, []).append(name)
    return [_module(name, tensors, layout) for name, tensors in found.items()]


def _module(name: str, tensors: Sequence[str], layout: Layout) -> _Module:
    weight = f"{name}.weight" if name else "weight"
    shape = layout[weight].shape if weight in layout else layout[tensors[0]].shape
    for tensor in tensors:
        own = layout[tensor].shape
        if tensor != weight and own != shape[:1]:
            raise _doubt(tensor, f"of shape {own} beside a weight of shape {shape}")
    is_layer = len(shape) > 1
    if not shape or (is_layer and len(tensors) > 2):
        raise _doubt(weight, f"of shape {shape}, with {len(tensors) - 1} tensors beside it")
    return _Module(name, tuple(tensors), shape[0], shape[1] if is_layer else None, len(shape))


def _in_order(layers: Sequence[_Module]) -> list[_Module]:
    """Layers in the order in which they follow each other. LayoutError where shapes allow none, or several."""
    groups: dict[str, list[_Module]] = {}
    for layer in sorted(layers, key=lambda layer: layer.number):
        groups.setdefault(layer.group, []).append(layer)
    if len(groups) > _MOST_GROUPS:
        raise _doubt(next(iter(groups.values()))[0].name, f"one of {len(groups)} groups of layers")
    orders = [[layer for group in order for layer in group] for order in permutations(groups.values())]
    fitting = [order for order in orders if all(_fits(*pair) for pair in pairwise(order))]
    if not fitting:
        for one, following in pairwise(orders[0] if len(groups) == 1 else layers[:0]):
            if not _fits(one, following):
                fact = f"it takes {following.inputs} inputs, and `{one.name}` before it has {one.outputs} outputs"
                raise _doubt(following.name, fact)
        raise LayoutError(f"in no order do the layers {_listed(groups)} follow each other", hint=_HINT)
    if len(groups) > 1:
        fitting = [order for order in fitting if _is_usual(order)]
    if not fitting:
        raise LayoutError(f"names do not tell in which order the layers {_listed(groups)} follow", hint=_HINT)
    if len(fitting) > 1:
        fact = f"the layers {_listed(groups)} can follow each other in {len(fitting)} orders"
        raise LayoutError(fact, hint=_HINT)
    return fitting[0]


def _is_usual(order: Sequence[_Module]) -> bool:
    """Whether groups are called as those that come first, and the last one as one that comes last."""
    *words, last = dict.fromkeys((layer.group, layer.word) for layer in order)
    return last[1] in _ENDS and all(word in _BEGINS for _, word in words)


def _fits(one: _Module, following: _Module) -> bool:
    """Whether the outputs of a layer can be the inputs of the next: as they are, or channels as so many pixels each."""
    assert following.inputs is not None
    if one.axes > 2 and following.axes == 2:
        return following.inputs % one.outputs == 0
    return one.axes == following.axes and following.inputs == one.outputs


def _norms(modules: Iterable[_Module], layers: Sequence[_Module]) -> dict[str, list[str]]:
    """For each layer the tensors of the norm that follows it."""
    found: dict[str, list[str]] = {}
    for norm in (module for module in modules if module.inputs is None):
        before = [layer for layer in layers if layer.group == norm.group and layer.number < norm.number]
        same = [layer for layer in layers if layer.group != norm.group and layer.number == norm.number]
        owner = before[-1] if before else same[0] if len(same) == 1 else None
        if owner is None or owner.outputs != norm.outputs or owner is layers[-1] or owner.name in found:
            raise _doubt(norm.name, "a norm of which it is not clear after which layer it comes")
        if not before and owner.inputs == owner.outputs and not norm.name.rpartition(".")[2].startswith("bn"):
            raise _doubt(norm.name, f"a norm before or after `{owner.name}`")
        if owner.axes > 2 and not any(name.endswith("running_mean") for name in norm.tensors):
            raise _doubt(norm.name, "a norm without running statistics, perhaps of groups of channels")
        found[owner.name] = list(norm.tensors)
    return found


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _doubt(name: str, why: str) -> LayoutError:
    return LayoutError(f"`{name}` leaves doubt about how the layers follow each other: {why}", hint=_HINT)
