"""Integer, bool and complex tensors: outside the vector, copied from the template unless a policy says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from weightmath.checkpoint import Reader, TensorInfo
from weightmath.errors import LayoutError, NumericError, RecipeError
from weightmath.files.inputs import Opened
from weightmath.files.subject import check_patterns
from weightmath.layout import Entry, Patterns

_PIECE = 1 << 18


class _OverflowedError(Exception):
    """A sum that its integers cannot hold."""


def _add(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    # numpy's own sum of several arrays is one of 64 bits, and goes round where these are too few.
    total: np.ndarray = one + other
    if np.any((other >= 0) != (total >= one)):
        raise _OverflowedError
    return total


_COMBINE: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"max": np.maximum, "sum": _add}


@dataclass(frozen=True)
class Policies:
    """For each tensor outside the vector its policy (template, error, max, sum), and where inputs hold it.

    template   the template's values; inputs that disagree are listed
    error      inputs that disagree stop the run
    max, sum   combined over all inputs that hold it, element by element
    """

    template: Opened
    inputs: Mapping[str, Opened]
    policies: Mapping[str, str]
    where: str  # they stand in the recipe

    @staticmethod
    def of(table: Mapping[str, str], template: Opened, inputs: Mapping[str, Opened], where: str) -> Policies:
        """Policies by the first pattern that matches; `template` where none does.

        Fails with RecipeError for a pattern that matches no such tensor, and for `max` and `sum` of truth values or
        complex numbers; with LayoutError where inputs hold a tensor in another shape or dtype that may not differ.
        """
        infos = {name: info for name, info in template.tensors.items() if not info.entry.dtype.is_float}
        check_patterns((pattern for pattern in table if pattern != "*"), tuple(infos))
        patterns, words = Patterns(list(table)), list(table.values())
        chosen: dict[str, str] = {}
        for name, info in infos.items():
            number = patterns.first(name)
            chosen[name] = "template" if number is None else words[number]
            if chosen[name] in _COMBINE and info.entry.dtype.kind != "int":
                raise RecipeError(
                    f"`{name}` is {info.entry.dtype}, and `{chosen[name]}` is for whole numbers",
                    hint=f'put a line before it: "{name}": template',
                )
        found = Policies(template, inputs, chosen, where)
        for name, policy in chosen.items():
            unlike = found._unlike(name)
            if unlike and policy != "template":
                raise LayoutError(f"inputs disagree in `{name}`: {unlike}", hint=_way_out(name))
        return found

    def computed(self, template: Opened) -> dict[str, int]:
        """Tensors of an output with this template that are combined, not copied, and their sizes."""
        combined = [name for name, policy in self.policies.items() if policy in _COMBINE and name in template.tensors]
        return {name: template.tensors[name].entry.size for name in combined}

    def merge(self, readers: Mapping[Path, Reader], sinks: Mapping[str, Any]) -> dict[str, str]:
        """Write combined tensors to all sinks; returns the tensors in which inputs disagree and what was done.

        LayoutError where inputs disagree and the policy is `error`, NumericError for a sum beyond the tensor's dtype.
        """
        found: dict[str, str] = {}
        for name, policy in self.policies.items():
            try:
                disagree = self._combine(name, readers, sinks) or self._unlike(name) is not None
            except _OverflowedError:
                fact = f"the sum of `{name}` is beyond {self.template.tensors[name].entry.dtype}"
                raise NumericError(fact, where=self.where, hint=_way_out(name)) from None
            if disagree and policy == "error":
                raise LayoutError(f"inputs disagree in `{name}`", where=self.where, hint=_way_out(name))
            if disagree:
                found[name] = policy
        return found

    def _combine(self, name: str, readers: Mapping[Path, Reader], sinks: Mapping[str, Any]) -> bool:
        """Read a tensor of all inputs, write it where it is combined; whether they disagree."""
        disagree = False
        operation = _COMBINE.get(self.policies[name])
        size = self.template.tensors[name].entry.size
        takers = [sink for sink in sinks.values() if operation is not None and sink.dtype(name) is not None]
        puts = [sink.writing(name) for sink in takers]
        for start in range(0, size, _PIECE):
            stop = min(start + _PIECE, size)
            parts = [readers[one.checkpoint.path].bits(one.tensors[name], start, stop) for one in self._holders(name)]
            disagree |= any(not np.array_equal(part, parts[0]) for part in parts[1:])
            if operation is not None:
                combined = reduce(operation, parts)
                for put in puts:
                    put(start, combined)
        return disagree

    def _holders(self, name: str) -> list[Opened]:
        """The inputs that hold this tensor as the template does, the template first."""
        wanted = self.template.tensors[name].entry
        holders = {self.template.name: self.template, **self.inputs}
        return [
            opened for opened in holders.values() if name in opened.tensors and _alike(opened.tensors[name], wanted)
        ]

    def _unlike(self, name: str) -> str | None:
        """What tells that an input's tensor of this name has another shape or dtype, or None."""
        wanted = self.template.tensors[name].entry
        for opened in self.inputs.values():
            if name in opened.tensors and not _alike(opened.tensors[name], wanted):
                there = opened.tensors[name].entry
                return f"{_kind(wanted)} in `{self.template.name}`, {_kind(there)} in `{opened.name}`"
        return None


def _kind(entry: Entry) -> str:
    return f"{entry.dtype} {list(entry.shape)}"


def _way_out(name: str) -> str:
    return f'take the template\'s: integers: {{"{name}": template}}'


def _alike(info: TensorInfo, wanted: Entry) -> bool:
    return info.entry.shape == wanted.shape and info.entry.dtype == wanted.dtype
