"""Entries of a vector and their order: the structure that a checkpoint adds to a row of numbers.

A layout is sorted by name, so that the flat index of an element never depends on the order in which some
file happens to hold its tensors.
"""

from __future__ import annotations

import fnmatch
import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, groupby
from operator import attrgetter
from typing import Any, NamedTuple

from weightmath.dtypes import DType
from weightmath.regular import regular


class Entry(NamedTuple):
    """One named tensor of a vector: its name, shape and dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: DType

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def rows(self) -> int:
        """Slices along the first axis; a 0-d or 1-d tensor is one row."""
        return self.shape[0] if len(self.shape) > 1 else 1

    @property
    def row_size(self) -> int:
        """Elements of one row."""
        return self.size // self.rows if self.rows else 0

    @property
    def nbytes(self) -> int:
        """Bytes of the elements as stored."""
        return self.size * self.dtype.itemsize

    def of_dtype(self, dtype: DType) -> Entry:
        """The entry with this dtype: itself where it has it already."""
        return self if dtype == self.dtype else self._replace(dtype=dtype)


@dataclass(frozen=True, repr=False)
class Layout:
    """The entries of a vector, sorted by name.

    `template` is whatever the layout was taken from and can be repackaged into (a checkpoint section), `outside` are
    names that were there but are left out, which patterns may still match. Neither is part of the layout's identity.
    """

    entries: tuple[Entry, ...]
    template: Any = field(default=None, compare=False, repr=False)
    outside: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @staticmethod
    def of(entries: Iterable[Entry], template: Any = None, outside: Iterable[str] = ()) -> Layout:
        """The layout of these entries, whatever their order."""
        return Layout(tuple(sorted(entries, key=attrgetter("name"))), template, tuple(outside))

    def __repr__(self) -> str:
        return f"Layout({len(self.entries):,} tensors, {self.size:,} elements)"

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __contains__(self, name: str) -> bool:
        return name in self.index

    def __getitem__(self, name: str) -> Entry:
        return self.entries[self.index[name]]

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each entry by name."""
        return {entry.name: i for i, entry in enumerate(self.entries)}

    def under(self, names: tuple[str, ...]) -> Sequence[Entry | None]:
        """The entries of these names; None where it has none."""
        if names == self.names:
            return self.entries
        numbers = map(self.index.get, names)
        return [None if number is None else self.entries[number] for number in numbers]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names in flat order."""
        return tuple(entry.name for entry in self.entries)

    def is_matched(self, pattern: str) -> bool:
        """Whether a pattern matches a name, be it one that is left out."""
        return any(map(Patterns([pattern]).matches, (*self.names, *self.outside)))

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of elements of each entry, in flat order."""
        return tuple(math.prod(entry.shape) for entry in self.entries)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Flat index of each entry's first element, and the total size last."""
        return tuple(accumulate(self.sizes, initial=0))

    @property
    def size(self) -> int:
        """Number of elements of the vector."""
        return self.offsets[-1]

    @cached_property
    def fingerprint(self) -> str:
        """Hash of names and shapes (not dtypes): equal for vectors that can be computed with each other."""
        text = "".join(f"{entry.name}\0{entry.shape}\n" for entry in self.entries)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Difference:
    """How one layout differs from the layout that was expected."""

    missing: tuple[str, ...]  # expected, not there
    extra: tuple[str, ...]  # there, not expected
    reshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]  # name, expected shape, actual shape

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.reshaped)


def difference(expected: Layout, actual: Layout) -> Difference:
    """What `actual` lacks, has too much, or has in another shape."""
    if expected == actual:
        return Difference((), (), ())
    pairs = list(zip(expected, actual.under(expected.names), strict=True))
    return Difference(
        missing=tuple(entry.name for entry, other in pairs if other is None),
        extra=tuple(one.name for one, other in zip(actual, expected.under(actual.names), strict=True) if other is None),
        reshaped=tuple(
            (one.name, one.shape, other.shape) for one, other in pairs if other and other.shape != one.shape
        ),
    )


class Patterns:
    """Name patterns: globs, or regular expressions written `re:...`.

    A glob matches the whole name, a regular expression anywhere in it. `first(name)` is the number of the first pattern
    that matches. Thousands of names against hundreds of globs stay cheap: globs that follow each other are one regular
    expression. RecipeError for what is no regular expression, or one that could take forever.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = tuple(patterns)
        self._tests: list[tuple[Callable[[str], re.Match[str] | None], int | None]] = []
        for is_regex, run in groupby(enumerate(self.patterns), key=lambda each: each[1].startswith("re:")):
            if is_regex:
                self._tests += [(regular(pattern[3:], re.DOTALL).search, number) for number, pattern in run]
            else:
                globs = (f"(?P<p{number}>{fnmatch.translate(pattern)})" for number, pattern in run)
                self._tests.append((re.compile("|".join(globs)).match, None))

    def first(self, name: str) -> int | None:
        """Number of the first pattern that matches the name, or None."""
        for test, number in self._tests:
            found = test(name)
            if found:
                return int(str(found.lastgroup)[1:]) if number is None else number
        return None

    def matches(self, name: str) -> bool:
        """Whether any pattern matches the name."""
        return self.first(name) is not None
