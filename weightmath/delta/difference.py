"""The difference of two sections, tensor by tensor and piece by piece: tuned - base, in float32."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from weightmath.checkpoint import Reader, Section, TensorInfo
from weightmath.delta.numbers import decode
from weightmath.delta.pieces import in_order, pieces_of
from weightmath.errors import LayoutError, NumericError
from weightmath.layout import Entry, Layout, difference


@dataclass(frozen=True)
class Pair:
    """A tensor of both sides; `entry` has the shape that is compared and the tuned side's dtype."""

    entry: Entry
    base: TensorInfo
    tuned: TensorInfo


def pairs_of(base: Section, tuned: Section, *, fit: bool) -> list[Pair]:
    """The tensors that both have, in the order of the tuned file.

    fit    leave out tensors that one of them lacks; of tables of unlike length compare the leading rows
    Fails  LayoutError where names or shapes differ and `fit` does not allow it
    """
    sides = [Layout.of(tensor.entry for tensor in section.tensors.values()) for section in (base, tuned)]
    found = difference(*sides)
    if found and not fit:
        raise _unlike(tuned, found.missing, found.extra, found.reshaped)
    pairs = []
    for name, tensor in tuned.tensors.items():
        other = base.tensors.get(name)
        if other is not None:
            pairs.append(Pair(_common(other.entry, tensor.entry, tuned), other, tensor))
    return pairs


def _common(base: Entry, tuned: Entry, section: Section) -> Entry:
    if base.shape == tuned.shape:
        return tuned
    if len(base.shape) != len(tuned.shape) or not base.shape or base.shape[1:] != tuned.shape[1:]:
        raise _unlike(section, (), (), ((tuned.name, base.shape, tuned.shape),))
    return tuned._replace(shape=(min(base.shape[0], tuned.shape[0]), *base.shape[1:]))


def _unlike(tuned: Section, missing: Any, extra: Any, reshaped: Any) -> LayoutError:
    facts = [f"lacks `{name}`" for name in missing[:3]] + [f"has `{name}` besides" for name in extra[:3]]
    facts += [f"`{name}` is {list(new)}, and {list(old)} in the base" for name, old, new in reshaped[:3]]
    count = len(missing) + len(extra) + len(reshaped)
    more = f"; {count} differences in all" if count > len(facts) else ""
    return LayoutError(
        f"does not have the base's tensors: {'; '.join(facts)}{more}",
        where=str(tuned.checkpoint.path),
        hint="--fit compares what both have, and of longer tables the leading rows; --as exact keeps everything",
    )


class Difference:
    """Reads differences of pairs; from any thread."""

    def __init__(self, base: Reader, tuned: Reader) -> None:
        self._readers = (base, tuned)

    def bits(self, pair: Pair, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Raw elements of the base and of the tuned tensor."""
        base, tuned = self._readers
        return base.bits(pair.base, start, stop), tuned.bits(pair.tuned, start, stop)

    def values(self, pair: Pair, start: int, stop: int) -> np.ndarray:
        """tuned - base, rounded to float32. NumericError where it is no finite number."""
        base, tuned = self.bits(pair, start, stop)
        with np.errstate(over="ignore", invalid="ignore"):
            exact = decode(tuned, pair.tuned.entry.dtype) - decode(base, pair.base.entry.dtype)
            found: np.ndarray = exact.astype(np.float32, copy=False)
        if not np.isfinite(found).all():
            raise NumericError(
                f"the difference of `{pair.entry.name}` is not finite",
                hint="only --as exact keeps NaN, infinities and differences that float32 cannot hold",
            )
        return found

    def pieces(self, pair: Pair, threads: int) -> Iterator[np.ndarray]:
        """The values of a pair, piece by piece; threads read and subtract ahead of whoever takes them."""
        return in_order(lambda piece: self.values(pair, piece.start, piece.stop), pieces_of(pair.entry), threads)
