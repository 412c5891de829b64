"""The straight line: recipe text -> Recipe -> graph -> Plan -> execute -> writer -> one new checkpoint.

The only module that knows every stage. `prepare` does all that headers allow and raises whatever is wrong before a byte
of a tensor is read; `run` does the work, and publishes outputs only when all are complete and every `expect` holds.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from weightmath import functions, methods, recipe
from weightmath.algebra.graph import Vector
from weightmath.caveats import caveats
from weightmath.checkpoint import Checkpoint
from weightmath.checkpoint.ending import form_of
from weightmath.checkpoint.own_record import RECORD
from weightmath.checkpoint.paused import paused_collection
from weightmath.delta.sides import without_base
from weightmath.dtypes import DTYPES, dtype
from weightmath.encoding import check_encoded, check_wishes, encode, is_encoded, plan_encoded
from weightmath.engine import linear
from weightmath.engine.cost import bytes_read
from weightmath.engine.execute import Results, Settings, execute
from weightmath.engine.memory import settings_for
from weightmath.engine.meter import Meter, Told, silent
from weightmath.engine.plan import Output, Plan, Request, make_plan
from weightmath.errors import RecipeError, WeightmathError, at
from weightmath.files import buffers, integers
from weightmath.files.attempt import Attempt, check_nobody_writes, published_before
from weightmath.files.choice import Chosen
from weightmath.files.identity import identity
from weightmath.files.inputs import CheckpointSource, Opened, open_readers, placed, sources_of
from weightmath.files.opening import Inputs, open_inputs, subject_for, vectors_of
from weightmath.files.outputs import CheckpointSink, Save, check_targets, plan_save
from weightmath.files.subject import Subject, check_patterns
from weightmath.layout import Layout
from weightmath.pins import Pins, pins_of
from weightmath.provenance.compose import Unsettled, compose
from weightmath.provenance.lineage import histories_of
from weightmath.provenance.watching import Watch
from weightmath.questions import Answers, answers, claims_of, questions
from weightmath.recipe import Built, Recipe
from weightmath.sizes import bytes_of
from weightmath.verdicts import check_claims, check_finite, without_effect

NO_AVERAGE = "a buffer, and the formula is no average"  # why a tensor is the template's


@dataclass(frozen=True)
class Job:
    """A recipe whose every stage but the work is done."""

    recipe: Recipe
    inputs: Mapping[str, Opened]  # by the names of messages: those of a list are runs[0], runs[1], ...
    lists: Mapping[str, Chosen]  # of each list, which files it consists of
    vectors: Mapping[str, Vector]
    built: Built
    plan: Plan
    saves: tuple[Save, ...]
    records: Mapping[str, Unsettled]  # what the outputs will carry of their provenance, by name in `save`
    pins: Pins
    copied: Mapping[str, str]  # tensors of the layout that stay the template's, and why
    integers: integers.Policies
    warnings: tuple[str, ...]

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The checkpoints that are read."""
        return [opened.checkpoint for opened in self.inputs.values()]

    @property
    def needs_fingerprints(self) -> bool:
        """Whether the inputs' fingerprints are taken."""
        return bool(self.records or self.pins.fingerprints)

    @property
    def template(self) -> Opened:
        """The template of the first output, whose section is the layout."""
        return self.saves[0].template


@dataclass(frozen=True)
class Report:
    """What a run did."""

    job: Job
    results: Results
    answers: Answers
    seconds: float
    peak_bytes: int
    warnings: tuple[str, ...]
    integers: Mapping[str, str] = field(default_factory=dict)  # tensors where inputs disagreed, and what was done
    resumed: bool = False  # whether it went on where an earlier run was stopped


def callables() -> dict[str, Callable[..., Any]]:
    """Functions and methods by the names that recipes call them by."""
    declared = {**methods.load(), **functions.FUNCTIONS}
    return {name: entry.call for name, entry in declared.items()}


@paused_collection()
def prepare(source: Recipe) -> Job:
    """Everything short of reading a tensor; raises what is wrong with the recipe, its inputs and its outputs."""
    if source.spec.vary is not None:
        names = ", ".join(f"`{name}`" for name in source.spec.vary.names)
        hint = f"weightmath sweep {source.path or 'RECIPE'} measures every point"
        raise RecipeError(f"{names} varies: the recipe is many", where=source.where("vary"), hint=hint)
    known = callables()
    recipe.check(source, known)
    inputs = open_inputs(source)
    template = inputs.template(next(iter(source.spec.save)))
    subject = subject_for(source, inputs, template)
    vectors = vectors_of(source, inputs, template, subject)
    return job_of(source, inputs, subject, vectors, recipe.build(source, inputs.grouped(vectors), known))


def job_of(source: Recipe, inputs: Inputs, subject: Subject, vectors: Mapping[str, Vector], built: Built) -> Job:
    """The job of a graph that is built; `prepare` builds it from expressions, `weightmath.save` is given it."""
    template = inputs.template(next(iter(source.spec.save)))
    plan, copied = _plan(source, inputs, vectors, built, subject)
    policies = _integers(source, inputs, template)
    records, doubts = _records(source, inputs, plan, built)
    alike: dict[Hashable, Save] = {}
    saves = tuple(_save(source, inputs, plan, policies, name, records.get(name), alike) for name in built.saves)
    warnings = (*caveats(inputs, subject, plan, vectors, saves), *doubts)
    pins = pins_of(source, inputs.models)
    return Job(
        source, inputs.models, inputs.lists, vectors, built, plan, saves, records, pins, copied, policies, warnings
    )


def _records(source: Recipe, inputs: Inputs, plan: Plan, built: Built) -> tuple[dict[str, Unsettled], tuple[str, ...]]:
    """The provenance of each output, and warnings about that of inputs; nothing with `provenance: none`."""
    if source.spec.provenance == "none":
        return {}, ()
    histories, doubts = histories_of(inputs.models)
    templates = {name: inputs.template(name).name for name in built.saves}
    records = {
        name: compose(built.saves[name].recipe or source, built, plan, name, template, inputs.models, histories)
        for name, template in templates.items()
    }
    return records, doubts


def _plan(
    source: Recipe, inputs: Inputs, vectors: Mapping[str, Vector], built: Built, subject: Subject
) -> tuple[Plan, dict[str, str]]:
    """The plan, and the tensors of the layout that are left out of it with the reason.

    Whether buffers follow the formula depends on the formula, so a plan without them may follow a plan with them.
    """
    plan = _plan_of(source, inputs, vectors, built, subject.layout)
    apart = _buffers_apart(source, plan)
    if apart:
        rest = [entry for entry in subject.layout if entry.name not in apart]
        narrowed = Layout.of(rest, outside=(*subject.layout.outside, *apart))
        plan = _plan_of(source, inputs, vectors, built, narrowed)
    copied = {**subject.copied, **apart}
    for output in plan.request.outputs:
        there = plan.facts.present[output.value]
        absent = [name for name, flag in zip(plan.layout.names, there, strict=True) if not flag]
        copied |= dict.fromkeys(absent, "the formula does not reach it")
    return plan, copied


def _plan_of(source: Recipe, inputs: Inputs, vectors: Mapping[str, Vector], built: Built, layout: Layout) -> Plan:
    outputs = []
    for name, output in built.saves.items():
        own = inputs.template(name)
        dtype_name = "float32" if is_encoded(source.outputs[name]) else output.spec.dtype or source.spec.dtype
        outputs.append(
            Output(
                name,
                output.value,
                vectors[own.name],
                dtype(dtype_name) if dtype_name else None,
                source.where("save", name),
            )
        )
    compute = DTYPES[source.spec.compute] if source.spec.compute else None
    order = [layout.index[name] for name in inputs.template(next(iter(built.saves))).tensors if name in layout]
    try:
        return make_plan(Request(layout, tuple(outputs), questions(built), tuple(order), compute, built.places))
    except WeightmathError as error:
        raise placed(str(source.path or "recipe"), error) if error.where is None else error from None


def _buffers_apart(source: Recipe, plan: Plan) -> dict[str, str]:
    """Buffers that stay the template's, and why: by `buffers:`, or because the formula is no average."""
    try:
        check_patterns((pattern for pattern in source.spec.buffers if pattern != "*"), plan.layout.names)
    except RecipeError as error:
        raise at(source.where("buffers"), error) from None
    average = all(linear.is_average(output.value, plan) for output in plan.request.outputs)
    table = buffers.Policies(source.spec.buffers, "merge" if average else "template")
    reasons = {True: "`buffers: template`", False: NO_AVERAGE}
    return {name: reasons[table.is_given(name)] for name in plan.layout.names if table.policy(name) == "template"}


def _integers(source: Recipe, inputs: Inputs, template: Opened) -> integers.Policies:
    try:
        return integers.Policies.of(source.spec.integers, template, inputs.models)
    except WeightmathError as error:
        raise placed(source.where("integers"), error) from None


def _save(
    source: Recipe,
    inputs: Inputs,
    plan: Plan,
    policies: integers.Policies,
    name: str,
    record: Unsettled | None,
    alike: dict[Hashable, Save],
) -> Save:
    """An output, planned; `alike` has those that were planned before, whose images serve others that are made so."""
    spec = source.spec.save[name]
    template = inputs.template(name)
    output = next(output for output in plan.request.outputs if output.name == name)
    there = plan.facts.present[output.value]
    sizes = {entry.name: entry.size for entry, flag in zip(plan.layout, there, strict=True) if flag}
    target = source.outputs[name]
    dropped = inputs.dropped(name)
    try:
        check_wishes(target, spec, plan.kind(output.value))
        if is_encoded(target):
            return plan_encoded(name, source.resolve(target), template, sizes, spec)
        sizes |= policies.computed(template)
        form = form_of(target)
        key = None if record else (spec, template.name, form, output.dtype, tuple(sizes.items()))
        if key in alike:
            return replace(alike[key], name=name, path=source.resolve(target))
        save = plan_save(
            name,
            source.resolve(target),
            template,
            {own: size for own, size in sizes.items() if own not in dropped},
            dtype=output.dtype,
            device=spec.device,
            drop=spec.drop,
            keep=spec.keep,
            form=form,
            shard=bytes_of(spec.shard) if spec.shard else None,
            extra={RECORD: record.content} if record else {},
        )
        if key is not None:
            alike[key] = save
        return save
    except WeightmathError as error:
        raise placed(source.where("save", name), error) from None


def check_start(job: Job, *, threads: int | None = None, memory: int | None = None, force: bool = False) -> Settings:
    """What `run` refuses before any work: outputs that cannot be written, and a memory budget that is too small.

    Takes what `run` takes; returns the settings that it would work with. Fails with OutputError and MemoryBudgetError.
    """
    settings = settings_for(job.plan, threads, memory)
    check_nobody_writes(job.saves)
    ours = published_before(_which(job, settings), job.saves)
    check_targets(job.saves, job.checkpoints, force=force, ours=ours)
    check_encoded(job.saves, job.checkpoints, force=force, ours=ours)
    return settings


def _which(job: Job, settings: Settings) -> dict[str, Any]:
    return identity(job.recipe, job.inputs, job.plan, job.saves, settings.chunk)


def run(
    job: Job,
    *,
    threads: int | None = None,
    memory: int | None = None,
    force: bool = False,
    durable: bool = True,
    progress: Told = silent,
) -> Report:
    """Do the work of a job, or what is left of it where the same run was stopped before it was through.

    Parameters
        threads   worker threads; None: as many as there are processors, at most 8
        memory    bytes that the work may take; None: as planned
        force     replace outputs that exist
        durable   wait until outputs are on the disk; not for those that are read once and removed
        progress  told bytes done and bytes in all, from any thread
    Fails with OutputError before the work if an output cannot be written; ExpectError before the work where a pinned
    file is another; NumericError for NaN and infinities in an output; ExpectError where an expectation does not hold or
    a pinned vector is another; CheckpointError where an input changes; DiskError where the disk is full or fails. In
    each case no output appears. After a DiskError, or an interrupt, the same run goes on from there.
    """
    started = time.monotonic()
    settings = check_start(job, threads=threads, memory=memory, force=force)
    job.pins.check_files()
    with ExitStack() as stack:
        readers = open_readers(stack, job.checkpoints)
        attempt = stack.enter_context(
            Attempt(_which(job, settings), job.saves, job.checkpoints, force=force, durable=durable)
        )
        watch = Watch(job.inputs, job.saves) if job.needs_fingerprints else None
        make_source, make_sink = (watch.source, watch.sink) if watch else (CheckpointSource, CheckpointSink)
        sinks = {
            save.name: make_sink(save, writer, readers[save.template.checkpoint.path])
            for save, writer in zip(job.saves, attempt.writers, strict=True)
        }
        sources = sources_of(job.plan.nodes, readers, make_source)
        counted = job.integers.merge(readers, sinks)
        meter = Meter(bytes_read(job.plan) + sum(save.image.size for save in job.saves), progress)
        results = execute(job.plan, sources, sinks, settings, meter, attempt.journal, told=_judge(job))
        marks = watch.inputs(readers, settings.threads) if watch else {}
        job.pins.check_vectors(marks)
        check_finite(job.recipe, job.inputs, results)
        found = answers(job.built, results.watched)
        check_claims(job.recipe, enumerate(found.claims))
        for sink in sinks.values():
            sink.check_tied()
        if watch and job.records:
            writers = {save.name: writer for save, writer in zip(job.saves, attempt.writers, strict=True)}
            for name, own in watch.outputs(readers, writers, settings.threads).items():
                writers[name].settle(job.records[name].settled(own, marks))
        for reader in readers.values():
            reader.check_unchanged()
        attempt.publish(lambda save: encode(save, settings.threads, record=_record_of(job, save, marks)))
    seconds = time.monotonic() - started
    over = [f"an earlier run was stopped, and this one started over: {reason}" for reason in attempt.reasons]
    deltas = {name: opened.checkpoint.source for name, opened in job.inputs.items() if opened.is_delta}
    strange = without_base(deltas, marks.values()) if watch else []
    warnings = (*job.warnings, *over, *strange, *without_effect(results))
    return Report(job, results, found, seconds, _peak(), warnings, counted, attempt.resumed)


def _record_of(job: Job, save: Save, marks: Mapping[str, str]) -> Callable[[str], str] | None:
    """The provenance record of an output as text, by its own fingerprint; None where it carries none."""
    record = job.records.get(save.name)
    return None if record is None else partial(record.text, inputs=marks)


def _judge(job: Job) -> Callable[[Mapping[int, Any]], None]:
    """Fails with ExpectError as soon as a claim is known not to hold: before a later pass writes what nobody keeps."""
    return lambda values: check_claims(job.recipe, claims_of(job.built, values))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def load(
    path: str | Path, *, sets: Sequence[str] = (), inputs: Sequence[str] = (), outputs: Sequence[str] = ()
) -> Recipe:
    """A recipe from a file, with what the command line changes."""
    return recipe.with_overrides(recipe.load(path), sets=sets, inputs=inputs, outputs=outputs)
