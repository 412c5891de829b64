"""Errors that a user can act on: the place, the fact, the way out.

Low layers raise the fact; the one layer that knows the place adds it with `at`.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from weightmath.arguments import in_python

_MOST_WORDS, _LONGEST_WORD = 5_000, 200


class WeightmathError(Exception):
    """Base of every error that weightmath raises on purpose.

    Parameters
        what   the fact, in one sentence without a final stop
        where  the place: `recipe.yaml:7: let.out`, or `a.ckpt: state_dict/w`
        hint   the way out, if there is one; may hold a line to paste
    """

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        """The message for who calls from Python: `--force` is `force=True` there."""
        where = in_python(self.where) if self.where and self.where.startswith("--") else self.where
        option, space, rest = self.what.partition(" ") if self.what.startswith("--") else ("", "", self.what)
        return _message(where, in_python(option) + space + rest, self.hint and in_python(self.hint))

    def of_command(self) -> str:
        """The message for who gives a command."""
        return _message(self.where, self.what, self.hint)


def shell_word(path: object) -> str:
    """A path in a command to paste: quoted where a shell would cut it, as at a blank, or take a letter for its own."""
    return shlex.quote(str(path))


class RecipeError(WeightmathError):
    """The recipe says something that cannot be meant: YAML, names, types, ranges."""


class KindError(WeightmathError):
    """A model, delta or mask stands where another kind is needed."""


class LayoutError(WeightmathError):
    """Vectors whose tensors do not match."""


class CheckpointError(WeightmathError):
    """A file that is missing, broken, unsupported, or changed under our hands."""


class OutputError(WeightmathError):
    """The output cannot be written: it exists, is an input, or does not fit the disk."""


class DiskError(OutputError):
    """The disk is full, or fails. What was written until then is whole, and a run goes on from there."""


class MemoryBudgetError(WeightmathError):
    """The memory budget is below the least that the work needs."""


class NumericError(WeightmathError):
    """NaN, infinity or overflow where the recipe does not allow it."""


class ExpectError(WeightmathError):
    """An `expect` of the recipe does not hold, or an input is not the one that it pins."""


class TableError(WeightmathError):
    """A results table that is damaged, exists, or belongs to something else."""


class MetricError(WeightmathError):
    """An evaluation that fails, or says no number."""


def _message(where: str | None, what: str, hint: str | None) -> str:
    place = f"{where}: " if where else ""
    way_out = f"\n  hint: {hint}" if hint else ""
    return f"{place}{what}{way_out}"


def unwritable(path: Path, error: OSError) -> DiskError:
    """What the system says of a file that it does not let be written."""
    return DiskError(f"cannot be written: {error.strerror or error}", where=str(path))


E = TypeVar("E", bound=WeightmathError)


def at(where: str | None, error: E) -> E:
    """Add the place to an error that has none yet, and return it."""
    if error.where is None:
        error.where = where
    return error


def nearest(name: str, known: Iterable[str]) -> str | None:
    """A hint that names the closest known word, or None when nothing is close."""
    # To compare costs the product of the lengths, and both may come from a file.
    short = [word for word in islice(known, _MOST_WORDS) if len(word) <= _LONGEST_WORD]
    close = difflib.get_close_matches(name[:_LONGEST_WORD], short, n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else None


def no_attribute(what: str, name: str, known: Iterable[str], hint: str | None = None) -> AttributeError:
    """What a module of ours says of a name that it lacks: the fact and the hint, else the nearest known name."""
    way_out = hint or nearest(name, known)
    return AttributeError(f"{what} `{name}`" + (f": {way_out}" if way_out else ""))


def listed(words: Sequence[str], most: int) -> str:
    """The first of some words, and how many there are besides: "a, b, c and 4 more"."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def counted(number: int, thing: str) -> str:
    """A number of things: `1 tensor`, `1,143 tensors`."""
    return f"{number:,} {thing}{'' if number == 1 else 'es' if thing.endswith('s') else 's'}"
