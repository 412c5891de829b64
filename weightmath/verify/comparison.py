"""A sink that writes nothing: what the engine makes is compared with what a checkpoint holds."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from weightmath.checkpoint import Reader, Section
from weightmath.dtypes import DType
from weightmath.engine.ends import Put, Sink
from weightmath.files.outputs import Rest, Save, bits_of_rest
from weightmath.kernels import convert
from weightmath.scope import tile, tile_count

_TILES_AT_ONCE = 8


@dataclass(frozen=True)
class Difference:
    """One tensor that is not as the recipe makes it.

    fact      "values" where bits differ; else "missing", "extra", or what differs: "is float16, not float32"
    different how many elements differ, of those that were compared
    first     the first of them, counted in C order; None where elements were not compared
    expected  what the recipe makes of it, `found` what the checkpoint holds
    """

    tensor: str
    fact: str
    different: int = 0
    first: int | None = None
    expected: float | complex | None = None
    found: float | complex | None = None


class Stretch(NamedTuple):
    """Elements of a tensor that the template keeps, to be compared."""

    name: str
    start: int
    stop: int


class Comparison(Sink):
    """The engine's view of an output that is there already. It may be used from any thread.

    save      the output as it is planned
    template  reads the template
    section   what is compared with it, read by `reader`
    tiles     numbers of tiles by name in the file; None: all
    """

    def __init__(
        self,
        save: Save,
        template: Reader,
        section: Section,
        reader: Reader,
        tiles: Mapping[str, Sequence[int]] | None,
    ) -> None:
        self._save = save
        self._template = template
        self.section = section
        self._reader = reader
        self._tiles = tiles
        self._lock = threading.Lock()
        self._found: dict[str, Difference] = {one.tensor: one for one in _unlike(save, section)}
        self.elements = 0  # that were compared

    @property
    def differences(self) -> tuple[Difference, ...]:
        """All that was found, in the order of names, that of the flat vector."""
        return tuple(self._found[name] for name in sorted(self._found))

    def dtype(self, name: str) -> DType | None:
        """The dtype of a computed tensor; None where it is not there to be compared."""
        original = self._save.originals.get(name)
        if original is None or name in self._save.once or self._is_unlike(original):
            return None
        return self._save.image.dtype(original)

    def writing(self, name: str) -> Put:
        """What compares elements of a tensor, from one on."""
        return partial(self._compare, self._save.originals[name])

    def write_tensors(self, names: Sequence[str], spans: Sequence[slice], bits: np.ndarray) -> list[None]:
        """Compare whole tensors."""
        for name, span in zip(names, spans, strict=True):
            self.writing(name)(0, bits[span])
        return [None] * len(names)

    def seen(self) -> tuple[dict[str, Difference], int]:
        """What was found in values, and how many elements were compared."""
        return {name: one for name, one in self._found.items() if one.first is not None}, self.elements

    def see_also(self, seen: tuple[dict[str, Difference], int]) -> None:
        """Take in what a helper has found."""
        found, elements = seen
        self.elements += elements
        for difference in found.values():
            self._note(difference)

    @property
    def copies(self) -> Sequence[Stretch | Rest]:
        """Jobs that compare what is the template's."""
        rests = (rest for rest in self._save.rests if not self._is_unlike(rest.name))
        return (*self._stretches(), *rests)

    def copy(self, job: Stretch | Rest) -> tuple[int, None]:
        """Do one of the jobs; the bytes compared."""
        if isinstance(job, Rest):
            bits = bits_of_rest(job, self._save, self._template)
        else:
            bits = self._template.bits(self._save.template.section.tensors[job.name], job.start, job.stop)
        self._compare(job.name, job.start, bits)
        return bits.nbytes, None

    def _stretches(self) -> Iterator[Stretch]:
        for name in self._save.copied:
            entry = self._save.template.section.tensors[name].entry
            if self._is_unlike(name):
                continue
            if self._tiles is not None:
                spans = [tile(entry, number) for number in self._tiles.get(name, ())]
                yield from (Stretch(name, span.start, span.stop) for span in spans)
                continue
            for first in range(0, tile_count(entry), _TILES_AT_ONCE):
                last = min(first + _TILES_AT_ONCE, tile_count(entry)) - 1
                yield Stretch(name, tile(entry, first).start, tile(entry, last).stop)

    def _is_unlike(self, original: str) -> bool:
        """Whether the tensor is missing, or has another shape or dtype."""
        return original in self._found and self._found[original].first is None

    def _compare(self, name: str, start: int, expected: np.ndarray) -> None:
        info = self.section.tensors[name]
        found = self._reader.bits(info, start, start + len(expected))
        whole = np.uint8 if expected.itemsize > 8 else np.dtype(f"u{expected.itemsize}")
        unequal = (expected.view(whole) != found.view(whole)).reshape(len(expected), -1).any(axis=1)
        count = int(np.count_nonzero(unequal))
        with self._lock:
            self.elements += len(expected)
            if count:
                place = int(np.argmax(unequal))
                numbers = (_number(bits[place : place + 1], info.entry.dtype) for bits in (expected, found))
                self._note(Difference(name, "values", count, start + place, *numbers))

    def _note(self, new: Difference) -> None:
        old = self._found.get(new.tensor)
        if old is None:
            self._found[new.tensor] = new
            return
        first = min(old, new, key=lambda one: one.first or 0)
        total = old.different + new.different
        self._found[new.tensor] = Difference(new.tensor, "values", total, first.first, first.expected, first.found)


def _number(bits: np.ndarray, dtype: DType) -> float | complex:
    """One element as a number."""
    numbers = convert.decoded(bits, dtype) if dtype.is_float else bits
    value: float | complex = numbers[0].item()
    return value


def _unlike(save: Save, section: Section) -> Iterator[Difference]:
    """Tensors that are missing or look different, and those that the output should not have."""
    template, there = save.template.section.tensors, section.tensors
    expected: dict[str, DType] = {name: save.image.dtype(name) for name in save.originals.values()}
    expected |= {name: template[name].entry.dtype for name in save.copied}
    for name, dtype in expected.items():
        info = there.get(name)
        if info is None:
            yield Difference(name, "missing")
        elif info.entry.shape != template[name].entry.shape:
            yield Difference(name, f"has shape {list(info.entry.shape)}, not {list(template[name].entry.shape)}")
        elif info.entry.dtype != dtype:
            yield Difference(name, f"is {info.entry.dtype}, not {dtype}")
    yield from (Difference(name, "extra") for name in there if name not in expected)
