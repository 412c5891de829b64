"""The straight line: recipe text -> Recipe -> graph -> Plan -> execute -> writer -> one new checkpoint.

The only module that knows every stage. `prepare` does all that headers allow and raises whatever is wrong before a byte of a
tensor is read; `run` does the work, and publishes outputs only when all are complete and every `expect` holds.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from weightmath import buffers, functions, integers, linear, methods, recipe
from weightmath.checkpoint import Writer
from weightmath.dtypes import DTYPES, dtype
from weightmath.errors import ExpectError, NumericError, RecipeError, WeightmathError
from weightmath.execute import Results, Settings, execute
from weightmath.graph import Vector
from weightmath.inputs import CheckpointSource, Fallback, Opened, as_vector, open_input, open_readers, placed
from weightmath.layout import Layout, Patterns
from weightmath.memory import settings_for
from weightmath.outputs import CheckpointSink, Save, check_targets, plan_save
from weightmath.plan import Output, Plan, Request, make_plan
from weightmath.questions import Answers, answers, questions
from weightmath.recipe import Built, Recipe


@dataclass(frozen=True)
class Job:
    """A recipe whose every stage but the work is done."""

    recipe: Recipe
    inputs: Mapping[str, Opened]
    vectors: Mapping[str, Vector]
    built: Built
    plan: Plan
    saves: tuple[Save, ...]
    copied: Mapping[str, str]  # tensors of the layout that stay the template's, and why
    integers: integers.Policies
    warnings: tuple[str, ...]

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


def callables() -> dict[str, Callable[..., Any]]:
    """Functions and methods by the names that recipes call them by."""
    declared = {**methods.load(), **functions.FUNCTIONS}
    return {name: entry.call for name, entry in declared.items()}


def prepare(source: Recipe) -> Job:
    """Everything short of reading a tensor; raises what is wrong with the recipe, its inputs and its outputs."""
    known = callables()
    recipe.check(source, known)
    opened = {name: _open(source, name) for name in source.spec.inputs}
    template = _template(source, opened, next(iter(source.spec.save)))
    vectors = {name: _vector(source, name, opened[name], template) for name in opened}
    built = recipe.build(source, vectors, known)
    plan, copied = _plan(source, opened, vectors, built, template)
    saves = tuple(_save(source, opened, plan, name) for name in built.saves)
    policies = integers.Policies.of(source.spec.integers, template, opened)
    return Job(source, opened, vectors, built, plan, saves, copied, policies, _warnings(source, plan, template, copied))


def _open(source: Recipe, name: str) -> Opened:
    spec = source.spec.inputs[name]
    try:
        return open_input(name, source.resolve(spec.path), section=spec.section, strip=spec.strip, rename=spec.rename)
    except WeightmathError as error:
        raise placed(source.where("inputs", name), error) from None


def _template(source: Recipe, opened: Mapping[str, Opened], output: str) -> Opened:
    """The template that an output names, else the first input that is a whole model, else the first whole input."""
    named = source.spec.save[output].template
    if named is not None:
        if named not in opened:
            raise RecipeError(
                f"the template `{named}` is not an input",
                where=source.where("save", output),
                hint=f"inputs: {' '.join(opened)}",
            )
        return opened[named]
    whole = [name for name, spec in source.spec.inputs.items() if not spec.part]
    models = [name for name in whole if source.spec.inputs[name].kind in (None, "model")]
    if not whole:
        raise RecipeError("no input is a whole model that could be the template", where=source.where("inputs"))
    return opened[(models or whole)[0]]


def _vector(source: Recipe, name: str, opened: Opened, template: Opened) -> Vector:
    spec = source.spec.inputs[name]
    try:
        return as_vector(
            opened,
            template,
            kind=spec.kind or "model",
            missing=spec.missing or source.spec.missing,
            extra=spec.extra or source.spec.extra,
            part=spec.part,
        )
    except WeightmathError as error:
        raise placed(source.where("inputs", name), error) from None


def _plan(
    source: Recipe, opened: Mapping[str, Opened], vectors: Mapping[str, Vector], built: Built, template: Opened
) -> tuple[Plan, dict[str, str]]:
    """The plan, and the tensors of the layout that are left out of it with the reason.

    Whether buffers follow the formula depends on the formula, so a plan without them may follow a plan with them.
    """
    chosen, copied = _chosen(source, template.layout)
    plan = _plan_of(source, opened, vectors, built, template, chosen)
    apart = _buffers_apart(source, plan)
    if apart:
        copied |= apart
        chosen = Layout.of(entry for entry in chosen if entry.name not in apart)
        plan = _plan_of(source, opened, vectors, built, template, chosen)
    for output in plan.request.outputs:
        there = plan.facts.present[output.value]
        absent = [name for name, flag in zip(plan.layout.names, there, strict=True) if not flag]
        copied |= dict.fromkeys(absent, "the formula does not reach it")
    return plan, copied


def _chosen(source: Recipe, layout: Layout) -> tuple[Layout, dict[str, str]]:
    """The layout narrowed by `only:` and `except:`."""
    spec = source.spec
    for key, patterns in (("only", spec.only), ("except", spec.except_)):
        for pattern in patterns:
            if not any(Patterns([pattern]).matches(name) for name in layout.names):
                raise RecipeError(f"the pattern `{pattern}` matches no tensor", where=source.where(key))
    only, without = Patterns(spec.only), Patterns(spec.except_)
    copied: dict[str, str] = {}
    for name in layout.names:
        if spec.only and not only.matches(name):
            copied[name] = "not in `only:`"
        elif without.matches(name):
            copied[name] = "in `except:`"
    return Layout.of(entry for entry in layout if entry.name not in copied), copied


def _plan_of(
    source: Recipe,
    opened: Mapping[str, Opened],
    vectors: Mapping[str, Vector],
    built: Built,
    template: Opened,
    layout: Layout,
) -> Plan:
    outputs = []
    for name, output in built.saves.items():
        own = _template(source, opened, name)
        dtype_name = output.spec.dtype or source.spec.dtype
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
    order = [layout.index[name] for name in template.tensors if name in layout]
    try:
        return make_plan(Request(layout, tuple(outputs), questions(built), tuple(order), compute, built.places))
    except WeightmathError as error:
        raise placed(str(source.path or "recipe"), error) if error.where is None else error from None


def _buffers_apart(source: Recipe, plan: Plan) -> dict[str, str]:
    """Buffers that stay the template's, and why: by `buffers:`, or because the formula is no average."""
    policies = Patterns(list(source.spec.buffers))
    words = list(source.spec.buffers.values())
    average = all(linear.is_convex(linear.coefficients(output.value, plan)) for output in plan.request.outputs)
    apart: dict[str, str] = {}
    for name in plan.layout.names:
        number = policies.first(name)
        if number is not None:
            if words[number] == "template":
                apart[name] = "`buffers: template`"
        elif not average and buffers.is_buffer(name):
            apart[name] = "a buffer, and the formula is no average"
    return apart


def _save(source: Recipe, opened: Mapping[str, Opened], plan: Plan, name: str) -> Save:
    spec = source.spec.save[name]
    template = _template(source, opened, name)
    value = next(output for output in plan.request.outputs if output.name == name)
    there = plan.facts.present[value.value]
    computed = [entry.name for entry, flag in zip(plan.layout, there, strict=True) if flag]
    merged = integers.Policies.of(source.spec.integers, template, opened).computed()
    try:
        return plan_save(
            name,
            source.resolve(source.outputs[name]),
            template,
            [*computed, *merged],
            dtype=value.dtype,
            device=spec.device,
            drop=spec.drop,
            keep=spec.keep,
        )
    except WeightmathError as error:
        raise placed(source.where("save", name), error) from None


def _warnings(source: Recipe, plan: Plan, template: Opened, copied: Mapping[str, str]) -> tuple[str, ...]:
    found = list(source.unused())
    for twin in template.section.twins:
        found.append(
            f"{template.checkpoint.path.name}: `{twin}` holds the same names and stays the OLD model; "
            "leave it out with `drop:`, or merge it as a section of its own"
        )
    unknown = [o.name for o in plan.request.outputs if plan.kind(o.value) == "unknown"]
    found += [
        f"{source.where('save', name)}: whether this is a model cannot be told from the formula" for name in unknown
    ]
    stale = [name for name in plan.layout.names if buffers.is_batch_statistic(name)]
    if stale:
        found.append(
            f"BatchNorm statistics are merged by the formula ({len(stale)} tensors); recompute them on data if you can"
        )
    kept = [name for name in copied if buffers.is_batch_statistic(name)]
    if kept:
        found.append(
            f"BatchNorm statistics stay the template's ({len(kept)} tensors) and are stale for the new weights"
        )
    return tuple(found)


def check_start(job: Job, *, threads: int | None = None, memory: int | None = None, force: bool = False) -> Settings:
    """What `run` refuses before any work: outputs that cannot be written, and a memory budget that is too small.

    Takes what `run` takes; returns the settings that it would work with. Fails with OutputError and MemoryBudgetError.
    """
    check_targets(job.saves, [opened.checkpoint for opened in job.inputs.values()], force=force)
    return settings_for(job.plan, threads, memory)


def run(
    job: Job,
    *,
    threads: int | None = None,
    memory: int | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Do the work of a job.

    Parameters
        threads   worker threads; None: as many as there are processors, at most 8
        memory    bytes that the work may take; None: as planned
        force     replace outputs that exist
        progress  told bytes done and bytes in all, from any thread
    Fails with OutputError before the work if an output cannot be written; NumericError for NaN and infinities in an
    output; ExpectError where an expectation does not hold; CheckpointError where an input changes. In each case no
    output appears.
    """
    started = time.monotonic()
    settings = check_start(job, threads=threads, memory=memory, force=force)
    with ExitStack() as stack:
        readers = open_readers(stack, [opened.checkpoint for opened in job.inputs.values()])
        writers = [stack.enter_context(Writer(save.image, save.path, force=force)) for save in job.saves]
        sinks = {save.name: CheckpointSink(save, writer) for save, writer in zip(job.saves, writers, strict=True)}
        sources = {v: CheckpointSource(_fallback(v), readers) for v in job.plan.nodes if v.source is not None}
        counted = job.integers.merge(readers, sinks)
        results = execute(job.plan, sources, sinks, settings, _Meter(job, progress))
        _check_finite(job, results)
        found = answers(job.built, results.watched)
        _check_claims(job, found)
        for sink in sinks.values():
            sink.check_tied()
        for reader in readers.values():
            reader.check_unchanged()
        for writer in writers:
            writer.commit()
        for writer in writers:
            writer.publish()
    seconds = time.monotonic() - started
    return Report(job, results, found, seconds, _peak(), (*job.warnings, *_without_effect(results)), counted)


def _fallback(vector: Vector) -> Fallback:
    assert vector.source is not None
    origin: Fallback = vector.source.origin
    return origin


class _Meter:
    """Adds up the bytes that threads report."""

    def __init__(self, job: Job, told: Callable[[int, int], None]) -> None:
        self._total = job.plan.bytes_read() + sum(save.image.size for save in job.saves)
        self._done = 0
        self._told = told

    def __call__(self, nbytes: int) -> None:
        self._done += nbytes
        self._told(self._done, self._total)


def _check_finite(job: Job, results: Results) -> None:
    if job.recipe.spec.nonfinite == "error":
        for name, outcome in results.outcomes.items():
            bad = {tensor: change.nonfinite for tensor, change in outcome.tensors.items() if change.nonfinite}
            if bad:
                listed = ", ".join(f"`{tensor}` ({count:,})" for tensor, count in list(bad.items())[:5])
                more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
                raise NumericError(
                    f"NaN or infinite values in {listed}{more}",
                    where=job.recipe.where("save", name),
                    hint="a wider `dtype:` if they overflowed, or `nonfinite: allow` if you want them",
                )


def _check_claims(job: Job, found: Answers) -> None:
    for number, claim in enumerate(found.claims):
        if not claim.held:
            measured = "" if claim.left is None else f": {claim.left:.6g} against {claim.right:.6g}"
            raise ExpectError(f"`{claim.text}` does not hold{measured}", where=job.recipe.where("expect", number))


def _without_effect(results: Results) -> list[str]:
    return [
        f"{name}: nothing changed against the template: the merge had no effect"
        for name, outcome in results.outcomes.items()
        if outcome.tensors and not any(change.changed for change in outcome.tensors.values())
    ]


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def load(
    path: str | Path, *, sets: Sequence[str] = (), inputs: Sequence[str] = (), outputs: Sequence[str] = ()
) -> Recipe:
    """A recipe from a file, with what the command line changes."""
    return recipe.with_overrides(recipe.load(path), sets=sets, inputs=inputs, outputs=outputs)


__all__ = ["Job", "Report", "callables", "load", "prepare", "run", "np"]
