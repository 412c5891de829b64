"""Checkpoints of one layout, opened as a recipe opens them, and what one pass over them measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightmath.algebra.graph import Vector
from weightmath.engine.cost import bytes_read
from weightmath.engine.execute import execute
from weightmath.engine.memory import settings_for
from weightmath.engine.meter import Meter, Told, silent
from weightmath.engine.plan import Request, Watched, make_plan
from weightmath.files import buffers
from weightmath.files.inputs import reading, sources_of
from weightmath.files.opening import Inputs, open_inputs, subject_for, vectors_of
from weightmath.layout import Layout
from weightmath.recipe import of_data


@dataclass(frozen=True)
class Models:
    """Opened checkpoints by the names that recipes give them; the first one's layout is that of all.

    trained   what directions and distances are taken of: all tensors but buffers
    buffers   tensors that no one trains, such as running statistics
    """

    inputs: Inputs
    vectors: Mapping[str, Vector]
    trained: Layout
    buffers: tuple[str, ...]


def open_models(paths: Mapping[str, Path]) -> Models:
    """Open checkpoints; only headers are read.

    Fails with CheckpointError for what is none, LayoutError for one that has other tensors than the first.
    """
    data = {"inputs": {name: str(path) for name, path in paths.items()}, "save": {"opened.ckpt": next(iter(paths))}}
    inputs = open_inputs(of_data(data, "landscape"))
    subject = subject_for(inputs)
    vectors = vectors_of(inputs, subject)
    apart = tuple(name for name in subject.layout.names if buffers.is_buffer(name))
    trained = Layout.of((entry for entry in subject.layout if entry.name not in set(apart)), outside=apart)
    return Models(inputs, vectors, trained, apart)


def measure(models: Models, values: Sequence[Vector], progress: Told = silent) -> list[Any]:
    """The values of statistics of the models, over their trained tensors, from as few passes as they need."""
    plan = make_plan(Request(models.trained, (), tuple(Watched(str(value), value) for value in values)))
    with reading([opened.checkpoint for opened in models.inputs.models.values()]) as readers:
        meter = Meter(bytes_read(plan), progress)
        results = execute(plan, sources_of(plan.nodes, readers), {}, settings_for(plan, None, None), meter)
    return [value for _, value in results.watched]
