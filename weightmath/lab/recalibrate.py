"""A hook before each measurement: what a formula cannot give, such as BatchNorm's statistics, is computed from data."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from weightmath.checkpoint import Section, open_checkpoint
from weightmath.errors import MetricError
from weightmath.flat import flatten, repackage
from weightmath.lab.foreign import called
from weightmath.lab.memory import tensor_of

State = Mapping[str, Any]
Hook = Callable[[dict[str, Any]], Any]


class Measure(Protocol):
    """What measures one point: a number, or a mapping of numbers, not checked yet."""

    needs_file: bool

    def __call__(self, state: State | None, checkpoint: Path | None) -> Any:
        """Measure a state dict or a file, whichever `needs_file` says."""

    def stop(self) -> None:
        """End what measures now."""


class Recalibrated:
    """A measurement of what a hook makes of each point.

    The hook gets the state dict, name -> torch tensor, and changes it, or returns the tensors that it has changed by
    name. Where files are measured it gets the tensors of the file's section; a copy of the file with its floating-point
    tensors is measured, which takes the memory of a few models. Files that are kept are as the formula made them.
    """

    def __init__(self, measure: Measure, hook: Hook) -> None:
        self._measure = measure
        self._hook = hook
        self.needs_file = measure.needs_file

    def __call__(self, state: State | None, checkpoint: Path | None) -> Any:
        """Measure what the hook makes of a state dict or a file. MetricError where the hook fails."""
        if not self.needs_file:  # there may be a file all the same, of a point that is kept
            assert state is not None
            return self._measure(self._changed(dict(state)), None)
        assert checkpoint is not None
        with tempfile.TemporaryDirectory(dir=checkpoint.parent, prefix=".recalibrated-") as folder:
            copy = Path(folder) / checkpoint.name
            section = open_checkpoint(checkpoint).section(None)
            _rewrite(checkpoint, self._changed(_state_of(section)), copy)
            return self._measure(None, copy)

    def _changed(self, state: dict[str, Any]) -> dict[str, Any]:
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        returned = called("--recalibrate", self._hook, state)
        if returned is not None and not isinstance(returned, Mapping):
            raise MetricError(
                f"the hook returns a {type(returned).__name__}",
                where="--recalibrate",
                hint="it returns changed tensors by name, or nothing when it has changed them in place",
            )
        found = {**state, **(returned or {})}
        wrong = [name for name in found if shapes.get(name) != tuple(np.shape(found[name]))]
        if wrong:
            fact = f"the hook gives `{wrong[0]}`, and the checkpoint has no such tensor, or one of another shape"
            raise MetricError(fact, where="--recalibrate")
        return found

    def stop(self) -> None:
        """End what measures."""
        self._measure.stop()


def _state_of(section: Section) -> dict[str, Any]:
    """All tensors of a section."""
    with section.checkpoint.open() as reader:
        tensors = section.tensors.items()
        return {name: tensor_of(reader.bits(info), info.entry, info.entry.dtype) for name, info in tensors}


def _rewrite(checkpoint: Path, state: State, copy: Path) -> None:
    """Write a copy of a checkpoint with the floating-point tensors of a state."""
    vector, layout = flatten(checkpoint)
    for entry, offset in zip(layout, layout.offsets, strict=False):
        vector[offset : offset + entry.size] = state[entry.name].detach().reshape(-1).double().cpu().numpy()
    repackage(vector, layout, copy)
