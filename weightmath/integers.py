"""Integer, bool and complex tensors: outside the vector, copied from the template unless a policy says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from weightmath.checkpoint import Reader, TensorInfo
from weightmath.errors import LayoutError, RecipeError
from weightmath.inputs import Opened
from weightmath.layout import Patterns

_PIECE = 1 << 18
_COMBINE = {"max": np.maximum, "sum": np.add}


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

    @staticmethod
    def of(table: Mapping[str, str], template: Opened, inputs: Mapping[str, Opened]) -> Policies:
        """Policies by the first pattern that matches; RecipeError for `max` and `sum` of what is not an integer."""
        patterns, words = Patterns(list(table)), list(table.values())
        chosen: dict[str, str] = {}
        for name, info in template.tensors.items():
            if info.entry.dtype.is_float:
                continue
            number = patterns.first(name)
            chosen[name] = "template" if number is None else words[number]
            if chosen[name] in _COMBINE and info.entry.dtype.kind != "int":
                raise RecipeError(f"`integers: {chosen[name]}` for `{name}`, which is {info.entry.dtype}")
        return Policies(template, inputs, chosen)

    def computed(self) -> tuple[str, ...]:
        """Names of tensors that are combined, not copied."""
        return tuple(name for name, policy in self.policies.items() if policy in _COMBINE)

    def merge(self, readers: Mapping[Path, Reader], sinks: Mapping[str, Any]) -> dict[str, str]:
        """Write combined tensors to all sinks; returns the tensors in which inputs disagree and what was done.

        LayoutError where inputs disagree and the policy is `error`.
        """
        found: dict[str, str] = {}
        for name, policy in self.policies.items():
            holders = self._holders(name)
            disagree = False
            size = self.template.tensors[name].entry.size
            for start in range(0, size, _PIECE):
                parts = [_read(opened, readers, name, start, min(start + _PIECE, size)) for opened in holders]
                disagree |= any(not np.array_equal(part, parts[0], equal_nan=False) for part in parts[1:])
                if policy in _COMBINE:
                    combined = _COMBINE[policy].reduce(parts)
                    for sink in sinks.values():
                        sink.write(name, start, combined)
            if disagree and policy == "error":
                raise LayoutError(f"inputs disagree in `{name}`", hint=f'choose: integers: {{"{name}": template}}')
            if disagree:
                found[name] = policy
        return found

    def _holders(self, name: str) -> list[Opened]:
        """The template and all inputs that hold this tensor with its shape and dtype, each file once."""
        wanted = self.template.tensors[name].entry
        holders = {self.template.name: self.template, **self.inputs}
        return [
            opened
            for opened in holders.values()
            if name in opened.tensors and _alike(opened.tensors[name], wanted.shape, wanted.dtype.name)
        ]


def _alike(info: TensorInfo, shape: tuple[int, ...], dtype: str) -> bool:
    return info.entry.shape == shape and info.entry.dtype.name == dtype


def _read(opened: Opened, readers: Mapping[Path, Reader], name: str, start: int, stop: int) -> np.ndarray:
    info = opened.tensors[name]
    bits = np.empty(stop - start, info.entry.dtype.bits)
    readers[opened.checkpoint.path].read(info, start, stop, bits)
    return bits
