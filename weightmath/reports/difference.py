"""How two checkpoints differ."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from weightmath.difference import Comparison, Distance, Pair
from weightmath.files.choice import natural
from weightmath.scope import Scope


@dataclass(frozen=True)
class TensorDifference:
    """A tensor that both have and that is not equal.

    dtypes           its dtype in the first and in the second checkpoint
    different        number of elements whose bits differ; of two dtypes, whose values differ
    relative_change  norm(second - first) / norm(first); None where first is zero, or it is no float in both
    cosine           None where one of them is zero, or it is no float in both
    largest          largest absolute difference of an element, or None
    """

    name: str
    shape: tuple[int, ...]
    dtypes: tuple[str, str]
    elements: int
    different: int
    relative_change: float | None
    cosine: float | None
    largest: float | None


@dataclass(frozen=True)
class LayerDifference:
    """A layer: the name of its tensors up to the first number. `equal` counts tensors that are equal bit for bit."""

    layer: str
    tensors: int
    equal: int
    relative_change: float | None
    cosine: float | None


@dataclass(frozen=True)
class Reshaped:
    """A tensor that has two shapes and is not compared."""

    name: str
    first: tuple[int, ...]
    second: tuple[int, ...]


@dataclass(frozen=True)
class DiffReport:
    """How two checkpoints differ.

    equal            whether both hold the same tensors, bit for bit
    sections         what was compared; "" is the top level
    tensors          number of tensors that both have in one shape; `tensors_equal` of them are equal bit for bit
    elements         of these tensors; `elements_different` of them differ
    relative_change  over all floating-point tensors, as is `cosine`
    tensors_different, layers   in the order of names
    """

    first: str
    second: str
    sections: tuple[str, str]
    equal: bool
    tensors: int
    tensors_equal: int
    elements: int
    elements_different: int
    relative_change: float | None
    cosine: float | None
    tensors_different: tuple[TensorDifference, ...] = field(repr=False)
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    reshaped: tuple[Reshaped, ...]
    layers: tuple[LayerDifference, ...] = field(repr=False)


def diff_report(found: Comparison) -> DiffReport:
    """The record of a comparison."""
    change, cosine = _distance(found.pairs)
    return DiffReport(
        first=str(found.first.checkpoint.path),
        second=str(found.second.checkpoint.path),
        sections=(found.first.section.name, found.second.section.name),
        equal=found.equal,
        tensors=len(found.pairs),
        tensors_equal=sum(pair.equal for pair in found.pairs),
        elements=sum(pair.first.entry.size for pair in found.pairs),
        elements_different=sum(pair.different for pair in found.pairs),
        relative_change=change,
        cosine=cosine,
        tensors_different=tuple(_tensor(pair) for pair in found.pairs if not pair.equal),
        only_first=found.only_first,
        only_second=found.only_second,
        reshaped=tuple(
            Reshaped(name, found.first.tensors[name].entry.shape, found.second.tensors[name].entry.shape)
            for name in found.reshaped
        ),
        layers=_layers(found.pairs),
    )


def _distance(pairs: Iterable[Pair]) -> tuple[float | None, float | None]:
    """Relative change and cosine over all of the pairs that have a distance; None and None where none has."""
    distances = [pair.distance for pair in pairs if pair.distance is not None]
    total = sum(distances, Distance())
    return (total.relative_change, total.cosine) if distances else (None, None)


def _tensor(pair: Pair) -> TensorDifference:
    first, second = pair.first.entry, pair.second.entry
    return TensorDifference(
        pair.name,
        first.shape,
        (first.dtype.name, second.dtype.name),
        first.size,
        pair.different,
        *_distance([pair]),
        pair.largest,
    )


def _layers(pairs: Iterable[Pair]) -> tuple[LayerDifference, ...]:
    layers: dict[str, list[Pair]] = {}
    for pair in pairs:
        layers.setdefault(Scope("layer").cell(pair.name), []).append(pair)
    return tuple(_layer(name, layers[name]) for name in sorted(layers, key=natural))


def _layer(name: str, pairs: list[Pair]) -> LayerDifference:
    return LayerDifference(name, len(pairs), sum(pair.equal for pair in pairs), *_distance(pairs))
