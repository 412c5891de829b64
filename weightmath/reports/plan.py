"""What a run would do, from a job whose headers were read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from weightmath.algebra.graph import Vector, topological
from weightmath.algebra.names import Description
from weightmath.effects import rules
from weightmath.engine.memory import peak_bytes, settings_for
from weightmath.engine.plan import SELECTIONS, STATISTICS, Pass, Plan
from weightmath.errors import WeightmathError
from weightmath.files import buffers
from weightmath.files.choice import Chosen
from weightmath.files.inputs import Opened
from weightmath.files.outputs import Save
from weightmath.job import Job
from weightmath.running import check_start
from weightmath.scope import Domain
from weightmath.speed.estimate import Estimate, estimate, moved
from weightmath.speed.machine import measured

BYTES_PER_SECOND = 10**9  # where the machine was not measured: what one or two cores do
_READABLE = 100


@dataclass(frozen=True)
class InputPlan:
    """One input.

    section   as `section:` would name it; "" is the top level
    tensors   all of the section, with those outside the vector
    values    elements of its floating-point tensors, which are the vector
    dtypes    number of tensors by dtype
    template  whether outputs copy everything else from it
    """

    name: str
    path: str
    container: str
    section: str
    tensors: int
    values: int
    dtypes: Mapping[str, int]
    kind: str
    part: bool
    template: bool


@dataclass(frozen=True)
class LeftOut:
    """A file that the pattern of a list finds and that is not taken."""

    path: str
    reason: str


@dataclass(frozen=True)
class ListPlan:
    """A list of models.

    files    in order; each is an input too, as `name[0]`, `name[1]`, ...
    numbers  what they were sorted by, where that is stored in them; else empty
    """

    name: str
    files: tuple[str, ...]
    numbers: tuple[float, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True)
class ValuePlan:
    """An entry of `let`: its kind (model, delta, mask, unknown, statistic, number, list, unused) and its formula."""

    name: str
    kind: str
    formula: str


@dataclass(frozen=True)
class PassPlan:
    """One reading of inputs.

    reads    names of inputs
    bytes    bytes that one reading takes
    computes statistics that it completes
    selects  whether some are selections: a sample before, and up to two readings more where it misled
    writes   names of outputs
    """

    reads: tuple[str, ...]
    bytes: int
    computes: tuple[str, ...]
    selects: bool
    writes: tuple[str, ...]


@dataclass(frozen=True)
class OutputPlan:
    """One output.

    dtype   the one asked for, or None where tensors keep theirs
    merged  number of floating-point tensors that are computed; `copied` ones of the section are the template's
    """

    name: str
    path: str
    bytes: int
    template: str
    kind: str
    dtype: str | None
    merged: int
    copied: int


@dataclass(frozen=True)
class CopiedPlan:
    """Tensors of the template's section that stay as they are, and why."""

    reason: str
    tensors: tuple[str, ...]


@dataclass(frozen=True)
class IntegersPlan:
    """Tensors outside the vector under one policy: template, error, max, sum."""

    policy: str
    tensors: tuple[str, ...]


@dataclass(frozen=True)
class BufferPlan:
    """A floating-point tensor that no one trains, and its fate: "merged", or why it is the template's."""

    tensor: str
    fate: str


@dataclass(frozen=True)
class Refusal:
    """Why `run` would refuse to start, as an error's parts."""

    what: str
    where: str | None
    hint: str | None


@dataclass(frozen=True)
class PlanReport:
    """What a run would do.

    recipe         its file, "-" of standard input, or "-e"
    values         entries of `let`, in order
    rules          numbers and masks that names decide: how each was read, and what it gives to which tensors
    within         statistics of a tensor or row, worked out while the tensor is read
    bytes_read     by all passes, selections that miss apart, by copies from templates, and for identity
    bytes_for_identity  of tensors that only fingerprints need, and of files whose sha256 is pinned
    bytes_written  sizes of all outputs
    peak_bytes     memory that the process is expected to take at most
    seconds        how long the process is expected to take
    estimate       what the seconds are spent on, on a machine that `weightmath calibrate` has measured; None elsewhere,
                   where they are only rough: all bytes at 1 GB/s
    refusal        why the run would not start, or None
    """

    recipe: str
    inputs: tuple[InputPlan, ...]
    lists: tuple[ListPlan, ...]
    values: tuple[ValuePlan, ...]
    rules: tuple[Description, ...] = field(repr=False)
    passes: tuple[PassPlan, ...]
    within: tuple[str, ...]
    outputs: tuple[OutputPlan, ...]
    copied: tuple[CopiedPlan, ...] = field(repr=False)
    integers: tuple[IntegersPlan, ...] = field(repr=False)
    buffers: tuple[BufferPlan, ...] = field(repr=False)
    threads: int
    bytes_read: int
    bytes_for_identity: int
    bytes_written: int
    peak_bytes: int
    seconds: float
    estimate: Estimate | None
    warnings: tuple[str, ...]
    refusal: Refusal | None


def plan_report(job: Job, *, threads: int | None = None, memory: int | None = None, force: bool = False) -> PlanReport:
    """The record of what `run` would do with these arguments; that it would not start is part of the record."""
    refusal = None
    try:
        check_start(job, threads=threads, memory=memory, force=force)
    except WeightmathError as error:
        refusal = Refusal(error.what, error.where, error.hint)
    plan, settings = job.plan, settings_for(job.plan, threads, memory if refusal is None else None)
    bytes_moved, named = moved(job), job.built.values
    machine = measured()
    estimated = estimate(job, bytes_moved, settings.threads, machine) if machine else None
    rough = (bytes_moved.read + bytes_moved.written) / BYTES_PER_SECOND
    return PlanReport(
        recipe=job.recipe.name,
        inputs=tuple(_input(job, opened) for opened in job.inputs.values()),
        lists=tuple(_list(name, chosen) for name, chosen in job.lists.items()),
        values=tuple(ValuePlan(name, _kind(plan, named[name]), text) for name, text in job.recipe.spec.let.items()),
        rules=rules(plan),
        passes=tuple(_pass(job, one) for one in plan.passes),
        within=tuple(_text(job, node) for node in plan.nodes if node.op in STATISTICS and node.domain >= Domain.TENSOR),
        outputs=tuple(_output(job, save) for save in job.saves),
        copied=tuple(CopiedPlan(*pair) for pair in _by_fate(job.copied).items()),
        integers=tuple(IntegersPlan(*pair) for pair in _by_fate(job.integers.policies).items()),
        buffers=_buffers(job),
        threads=settings.threads,
        bytes_read=bytes_moved.read,
        bytes_for_identity=bytes_moved.for_identity,
        bytes_written=bytes_moved.written,
        peak_bytes=peak_bytes(plan, settings),
        seconds=estimated.seconds if estimated else rough,
        estimate=estimated,
        warnings=job.warnings,
        refusal=refusal,
    )


def _input(job: Job, opened: Opened) -> InputPlan:
    infos = opened.tensors.values()
    source = job.vectors[opened.name].source
    return InputPlan(
        opened.name,
        str(opened.checkpoint.path),
        opened.checkpoint.container,
        opened.place,
        len(opened.tensors),
        sum(info.entry.size for info in infos if info.entry.dtype.is_float),
        dict(Counter(info.entry.dtype.name for info in infos)),
        source.kind if source else "model",
        source.part if source else False,
        any(save.template is opened for save in job.saves),
    )


def _list(name: str, chosen: Chosen) -> ListPlan:
    left_out = tuple(LeftOut(str(path), reason) for path, reason in chosen.left_out)
    return ListPlan(name, tuple(map(str, chosen.files)), chosen.numbers, left_out)


def _kind(plan: Plan, value: Any) -> str:
    """The kind of a named value in a word. Facts are known of what outputs, `show` and `expect` are made of."""
    if isinstance(value, list | tuple):
        kinds = dict.fromkeys(_kind(plan, item) for item in value)
        return f"list of {len(value)}: {' '.join(kinds)}"
    if not isinstance(value, Vector):
        return "text" if isinstance(value, str) else "number"
    if value not in plan.facts.weights:
        return "unused"
    if value.domain == Domain.ELEMENT or value.is_mask:
        return plan.kind(value)
    return "number" if value.static else "statistic"


def _pass(job: Job, one: Pass) -> PassPlan:
    order = list(job.inputs)
    found = (vector.source for vector in one.reads if vector.source is not None)
    sources = sorted(found, key=lambda source: order.index(source.name))
    layouts = [source.layout for source in sources]
    return PassPlan(
        tuple(source.name for source in sources),
        sum(layout[name].nbytes for layout in layouts for name in job.plan.layout.names if name in layout),
        tuple(dict.fromkeys(_text(job, node) for node in one.statistics)),
        any(node.op in SELECTIONS for node in one.statistics),
        tuple(output.name for output in one.outputs),
    )


def _text(job: Job, node: Vector) -> str:
    """What a statistic is, and the first part of the recipe that needs it.

    A threshold is shown as the selection that it is for, and what methods expand to, too long to be read, by its name.
    """
    if node.op == "cut":
        node = next((user for user in job.plan.nodes if any(arg is node for arg in user.args)), node)
    part = next(part for part, value in _parts(job) if any(below is node for below in topological([value])))
    if part.startswith(("show", "expect")):
        return part
    text = str(node)
    if len(text) > _READABLE:
        text = f"{node.op}, scope={node.option('scope')!r}"
    return f"{part.partition(':')[0]}: {text}"


def _parts(job: Job) -> Iterator[tuple[str, Vector]]:
    """The vectors of a recipe in the order in which it has them, with the part that each stands in."""
    named = ((f"let {name}", job.built.values[name]) for name in job.recipe.spec.let)
    shown = ((f"show: {text}", value) for text, value in job.built.show)
    claims = ((f"expect: {text}", value) for text, value in job.built.expect)
    saves = ((f"save {name}", value) for name, value in job.built.saves.items())
    for part, value in (*named, *shown, *claims, *saves):
        values = value if isinstance(value, list | tuple) else [value]
        yield from ((part, vector) for vector in values if isinstance(vector, Vector))


def _output(job: Job, save: Save) -> OutputPlan:
    output = next(output for output in job.plan.request.outputs if output.name == save.name)
    return OutputPlan(
        save.name,
        str(save.target),
        save.image.size,
        save.template.name,
        job.plan.kind(output.value),
        output.dtype.name if output.dtype else None,
        len(save.merged),
        len(save.copied),
    )


def _by_fate(fates: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The names that have each fate."""
    return {fate: tuple(name for name in fates if fates[name] == fate) for fate in dict.fromkeys(fates.values())}


def _buffers(job: Job) -> tuple[BufferPlan, ...]:
    merged = dict.fromkeys(job.plan.layout.names, "merged")
    fates = {**merged, **job.copied}
    return tuple(BufferPlan(name, fate) for name, fate in fates.items() if buffers.is_buffer(name))
