"""From two checkpoints to a third: B, its units in the order of A's, in B's container with all that it holds.

Elements are moved and never computed: each has the bits that it had in B. The output carries no provenance record: the
record's form is that of a recipe, which `verify` runs again, and this is none. B's own record, which would tell of
other weights, is left out.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from weightmath.align.document import text_of
from weightmath.align.known import spec_for
from weightmath.align.matching import Matching, assignment, weight_matching
from weightmath.align.spec import Orders, Spec, permuted
from weightmath.caveats import losses
from weightmath.checkpoint import Reader, Section, Writer
from weightmath.checkpoint.ending import form_of
from weightmath.engine.meter import Told, silent
from weightmath.errors import LayoutError, NumericError, OutputError, RecipeError, counted
from weightmath.files.inputs import Opened, open_input, open_readers
from weightmath.files.outputs import Save, check_targets, plan_save
from weightmath.kernels import convert
from weightmath.lab.memory import tensor_of
from weightmath.lab.metric import Function, Metric, optional_metric
from weightmath.lab.scratch import scratch

TOLERANCE = 1e-3  # of a metric that must stay the same


@dataclass(frozen=True)
class Job:
    """An alignment of which everything but the work is done.

    family   `chain`, `gpt2`, .., or the spec's path
    text     the spec with all names, as YAML
    save     the output
    """

    a: Opened
    b: Opened
    spec: Spec
    family: str
    text: str
    save: Save


@dataclass(frozen=True)
class Alignment:
    """An alignment that was made.

    metric    what the metric said of B and of the aligned model, or None
    warnings  what stays as it was and may not fit the new order
    """

    job: Job
    matching: Matching
    metric: tuple[Mapping[str, float], Mapping[str, float]] | None
    warnings: tuple[str, ...]


def align(
    a: str | Path,
    b: str | Path,
    output: str | Path,
    *,
    spec: str = "auto",
    heads: int | None = None,
    section: str | None = None,
    seed: int = 0,
    metric: str | Function | None = None,
    allow_code: bool = False,
    force: bool = False,
    progress: Told = silent,
) -> Alignment:
    """Write B with its hidden units in the order in which they are nearest to A's: the same function, ready to merge.

    Parameters
        a, b         two models of one architecture
        output       a path whose ending says the container: `.ckpt`, `.safetensors`, `folder/`, ..
        spec, heads  which axes move together; see `spec_for`
        section      which mapping inside both; None: each one's own is found
        seed         of the order in which permutations are tried
        metric       a command with `{checkpoint}`, a function of the state dict, or with `allow_code` its
                     `module:function`: measures B and the aligned model before there is an output, and must say the
                     same of both, to a thousandth
        force        replace an output that exists
        progress     told in each sweep how many permutations are through, and how many there are
    What the spec does not name keeps its place, byte for byte, and so does all else that B holds. Fails with
    LayoutError where the tensors differ or the spec does not fit, RecipeError for a spec that is none, NumericError for
    NaN, infinities, and a metric that changes, MetricError for one that fails, OutputError where the output cannot be
    written. It appears whole or not at all.
    """
    job = prepare(a, b, output, spec=spec, heads=heads, section=section, force=force)
    measure = optional_metric(metric, allow_code=allow_code)
    with measure or nullcontext():
        return run(job, seed=seed, metric=measure, force=force, progress=progress)


def prepare(
    a: str | Path,
    b: str | Path,
    output: str | Path,
    *,
    spec: str = "auto",
    heads: int | None = None,
    section: str | None = None,
    force: bool = False,
) -> Job:
    """Everything of `align` short of reading a tensor."""
    assignment()  # raises now what would end the work
    first, second = open_input("a", a, section=section), open_input("b", b, section=section)
    _check_heads(heads, second.checkpoint.path)
    chosen, family = spec_for(spec, second.layout, heads)
    if not chosen.permutations:
        raise LayoutError(f"nothing moves: all of `{family}` is left out", hint=chosen.left_out[0][1])
    _check_alike(first, second, chosen)
    save = _planned(second, os.path.expanduser(output), chosen)
    check_targets([save], [first.checkpoint, second.checkpoint], force=force)
    return Job(first, second, chosen, family, text_of(chosen, second.layout), save)


def run(
    job: Job,
    *,
    seed: int = 0,
    metric: Metric | None = None,
    force: bool = False,
    progress: Told = silent,
) -> Alignment:
    """The work of `align`."""
    with open_readers([job.a.checkpoint, job.b.checkpoint]) as readers:
        tensors = [_Tensors(one, readers[one.checkpoint.path]) for one in (job.a, job.b)]
        matching = weight_matching(job.spec, *tensors, seed=seed, progress=progress)
        moved = _Moved(job.b, readers[job.b.checkpoint.path], job.spec, matching.orders)
        told = None if metric is None else _compared(metric, moved, job)
        for reader in readers.values():
            reader.check_unchanged()
        _write(job.save, moved, force=force)
    return Alignment(job, matching, told, tuple(_warnings(job.save, job.b.section)))


class _Tensors(Mapping[str, np.ndarray]):
    """The tensors of a checkpoint in float64, each read when it is needed."""

    def __init__(self, opened: Opened, reader: Reader) -> None:
        self._infos, self._reader = opened.tensors, reader

    def __getitem__(self, name: str) -> np.ndarray:
        info = self._infos[name]
        numbers = convert.decoded(self._reader.bits(info), info.entry.dtype)
        if not np.isfinite(numbers).all():
            where = f"{self._reader.checkpoint.path}: {name}"
            raise NumericError("holds NaN or infinities, and cannot be matched", where=where)
        return numbers.reshape(info.entry.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._infos)

    def __len__(self) -> int:
        return len(self._infos)


def _check_heads(heads: int | None, model: Path) -> None:
    """RecipeError where the configuration of a model's folder has another number of heads, which shapes do not show."""
    config = model / "config.json"
    try:
        told = json.loads(config.read_bytes()) if heads is not None else {}
    except (OSError, ValueError):  # a file, a folder without one, or one of something else
        return
    words = ("num_attention_heads", "n_head")
    known = next((told[word] for word in words if word in told), None) if isinstance(told, dict) else None
    if isinstance(known, int) and known != heads:
        fact = f"the model has {known} attention heads, and --heads says {heads}"
        raise RecipeError(fact, where=str(config), hint=f"--heads {known}")


def _check_alike(a: Opened, b: Opened, spec: Spec) -> None:
    for name in spec.of_tensor:
        if name not in a.layout or a.layout[name].shape != b.layout[name].shape:
            there = f"shape {a.layout[name].shape}" if name in a.layout else "no such tensor"
            fact = f"{there} for `{name}`, which has {b.layout[name].shape} in {b.checkpoint.path.name}"
            raise LayoutError(fact, where=str(a.checkpoint.path), hint="both must be of one architecture")


def _planned(template: Opened, output: str | Path, spec: Spec) -> Save:
    """The output; OutputError where two names of one storage would move in two ways."""
    sizes = {name: template.tensors[name].entry.size for name in spec.of_tensor}
    save = plan_save(str(output), Path(output), template, sizes, device="keep", form=form_of(str(output)))
    own = {original: name for name, original in save.originals.items()}
    for alias, target in save.image.aliases.items():
        ways = [_way(spec, own[name]) for name in (alias, target) if name in own]
        if len(ways) == 2 and ways[0] != ways[1]:
            fact = (
                f"`{own[alias]}` and `{own[target]}` are two names of one storage, and the spec moves them differently"
            )
            raise OutputError(fact, where=str(output), hint="they need one permutation")
    return save


def _way(spec: Spec, name: str) -> list[tuple[str, int, int]]:
    return [(permutation.name, move.axis, move.parts) for permutation, move in spec.of_tensor[name]]


@dataclass(frozen=True)
class _Moved:
    """A model with its units in another order."""

    opened: Opened
    reader: Reader
    spec: Spec
    orders: Orders

    def bits(self, name: str) -> np.ndarray:
        """The bits of a tensor, moved, 1-D."""
        info = self.opened.tensors[name]
        bits = self.reader.bits(info).reshape(info.entry.shape)
        return np.ascontiguousarray(permuted(bits, name, self.spec, self.orders)).reshape(-1)

    def state(self) -> dict[str, Any]:
        """The state dict."""
        entries = {name: info.entry for name, info in self.opened.tensors.items()}
        return {name: tensor_of(self.bits(name), entry, entry.dtype) for name, entry in entries.items()}


def _write(save: Save, moved: _Moved, *, force: bool) -> None:
    with Writer(save.image, save.path, force=force) as writer:
        for copy in writer.copies:
            writer.copy(copy)
        for name, original in save.originals.items():
            if original not in save.image.aliases:
                writer.write(original, 0, moved.bits(name))
        writer.commit()
        writer.publish()


def _compared(metric: Metric, moved: _Moved, job: Job) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """What a metric says of a model and of the moved one; NumericError where that is not the same."""
    if metric.needs_file:
        before = metric.evaluate(checkpoint=moved.opened.checkpoint.path)
        with scratch(job.save.path) as folder:
            trial = replace(job.save, path=folder / job.save.path.name)
            _write(trial, moved, force=False)
            after = metric.evaluate(checkpoint=trial.path)
    else:
        before = metric.evaluate(replace(moved, orders=moved.spec.identity()).state())
        after = metric.evaluate(moved.state())
    for name, number in before.items():
        # A sum in another order differs by far less.
        if not math.isclose(number, after[name], rel_tol=TOLERANCE, abs_tol=TOLERANCE**2):
            fact = f"the spec `{job.family}` changes the function: `{name}` is {number:.6g}, and then {after[name]:.6g}"
            raise NumericError(fact, hint="does it leave out a tensor that should move? is the number of heads right?")
    return before, after


def _warnings(save: Save, section: Section) -> Iterator[str]:
    yield from losses(save)
    for twin in section.twins:
        is_inside = twin.endswith(".") and twin != "."
        if is_inside or not save.left_behind:
            yield f"`{twin}` holds the same names and keeps its old order"
    others = len(section.checkpoint.tensors) - len(section.tensors)
    if others > 0 and not save.left_behind:
        outside = counted(others, "tensor")
        yield f"{outside} outside the weights as they were: an optimizer's state would belong to the old order"
