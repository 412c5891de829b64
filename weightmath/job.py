"""All that headers allow: a recipe becomes a job, whose graph, plan, outputs and records are made and checked.

`prepare` raises whatever is wrong with a recipe, its inputs and its outputs before a byte of a tensor is read.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

from weightmath import functions, methods, recipe
from weightmath.algebra.graph import Vector
from weightmath.caveats import caveats
from weightmath.checkpoint import Checkpoint
from weightmath.checkpoint.ending import form_of
from weightmath.checkpoint.own_record import RECORD
from weightmath.dtypes import DTYPES, dtype
from weightmath.encoding import check_wishes, is_encoded, plan_encoded
from weightmath.engine import linear
from weightmath.engine.meter import Told, silent
from weightmath.engine.plan import Output, Plan, Request, make_plan
from weightmath.errors import RecipeError, WeightmathError, at, shell_word
from weightmath.files import buffers, integers
from weightmath.files.choice import Chosen
from weightmath.files.inputs import Opened, placed
from weightmath.files.opening import Inputs, open_inputs, subject_for, vectors_of
from weightmath.files.outputs import Save, plan_save
from weightmath.files.subject import Subject, check_patterns
from weightmath.layout import Layout
from weightmath.paused import paused_collection
from weightmath.pins import Pins, pins_of
from weightmath.provenance.compose import Unsettled, compose
from weightmath.provenance.lineage import histories_of
from weightmath.questions import questions
from weightmath.recipe import Built, Recipe
from weightmath.sizes import bytes_of
from weightmath.tied import computed_once

NO_AVERAGE = "a buffer, and not every output is an average"  # why a tensor is the template's


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


def callables() -> dict[str, Callable[..., Any]]:
    """Functions and methods by the names that recipes call them by."""
    declared = {**methods.load(), **functions.FUNCTIONS}
    return {name: entry.call for name, entry in declared.items()}


@paused_collection()
def prepare(source: Recipe, progress: Told = silent) -> Job:
    """Everything short of reading a tensor; raises what is wrong with the recipe, its inputs and its outputs.

    `progress` is told how many inputs are open, and how many there are: of a million tensors that takes a while.
    """
    if source.spec.vary is not None:
        names = ", ".join(f"`{name}`" for name in source.varying)
        one = source.settings(source.spec.vary.names)
        hint = f"{one} makes one; weightmath sweep {shell_word(source.path or 'RECIPE')} measures every point"
        fact = f"{names} {'varies' if len(source.varying) == 1 else 'vary'}, and the recipe is many"
        raise RecipeError(fact, where=source.where("vary"), hint=hint)
    known = callables()
    recipe.check(source, known)
    inputs = open_inputs(source, progress)
    subject = subject_for(inputs)
    vectors = vectors_of(inputs, subject)
    return job_of(inputs, subject, vectors, recipe.build(source, inputs.grouped(vectors), known))


def job_of(inputs: Inputs, subject: Subject, vectors: Mapping[str, Vector], built: Built) -> Job:
    """The job of a graph that is built; `prepare` builds it from expressions, `weightmath.save` is given it."""
    plan, copied = _plan(inputs, vectors, built, subject)
    policies = _integers(inputs)
    records, doubts = _records(inputs, plan, built)
    alike: dict[Hashable, Save] = {}
    saves = tuple(_save(inputs, plan, policies, name, records.get(name), alike) for name in built.saves)
    warnings = (*caveats(inputs, subject, plan, vectors, saves), *doubts)
    source, pins = inputs.recipe, pins_of(inputs)
    return Job(
        source, inputs.models, inputs.lists, vectors, built, plan, saves, records, pins, copied, policies, warnings
    )


def _records(inputs: Inputs, plan: Plan, built: Built) -> tuple[dict[str, Unsettled], tuple[str, ...]]:
    """The provenance of each output, and warnings about that of inputs; nothing with `provenance: none`."""
    source = inputs.recipe
    if source.spec.provenance == "none":
        return {}, ()
    histories, doubts = histories_of(inputs.models)
    records = {}
    for name, value in built.saves.items():
        alone, template = built.recipes.get(name, source), inputs.template(name).name
        records[name] = compose(alone, value, plan, name, template, inputs.models, histories)
    return records, doubts


def _plan(inputs: Inputs, vectors: Mapping[str, Vector], built: Built, subject: Subject) -> tuple[Plan, dict[str, str]]:
    """The plan, and the tensors of the layout that are left out of it with the reason.

    Whether buffers follow the formula depends on the formula, so a plan without them may follow a plan with them.
    """
    plan = _plan_of(inputs, vectors, built, subject.layout)
    apart = _buffers_apart(inputs.recipe, plan)
    if apart:
        rest = [entry for entry in subject.layout if entry.name not in apart]
        narrowed = Layout.of(rest, outside=(*subject.layout.outside, *apart))
        plan = _plan_of(inputs, vectors, built, narrowed)
    copied = {**subject.copied, **apart}
    for output in plan.request.outputs:
        there = plan.facts.present[output.value]
        absent = [name for name, flag in zip(plan.layout.names, there, strict=True) if not flag]
        copied |= dict.fromkeys(absent, "the formula does not reach it")
    return plan, copied


def _plan_of(inputs: Inputs, vectors: Mapping[str, Vector], built: Built, layout: Layout) -> Plan:
    source = inputs.recipe
    outputs = []
    for name, value in built.saves.items():
        template, own = vectors[inputs.template(name).name], source.spec.save[name].dtype
        dtype_name = "float32" if is_encoded(source.outputs[name]) else own or source.spec.dtype
        new = dtype(dtype_name) if dtype_name else None
        outputs.append(Output(name, value, template, new, source.where("save", name)))
    compute = DTYPES[source.spec.compute] if source.spec.compute else None
    order = [layout.index[name] for name in inputs.first_template.tensors if name in layout]
    try:
        return make_plan(Request(layout, tuple(outputs), questions(built), tuple(order), compute, built.places))
    except WeightmathError as error:
        raise placed(str(source.path or "recipe"), error) if error.where is None else error from None


def _buffers_apart(source: Recipe, plan: Plan) -> dict[str, str]:
    """Buffers that stay the template's, and why: by `buffers:`, or because some output is no average.

    A difference that is saved has all that it takes to give the model back.
    """
    try:
        check_patterns((pattern for pattern in source.spec.buffers if pattern != "*"), plan.layout.names)
    except RecipeError as error:
        raise at(source.where("buffers"), error) from None
    values = [output.value for output in plan.request.outputs]
    merged = all(linear.is_average(value, plan) or linear.is_difference(value, plan) for value in values)
    table = buffers.Policies(source.spec.buffers, "merge" if merged else "template")
    reasons = {True: "`buffers: template`", False: NO_AVERAGE}
    return {name: reasons[table.is_given(name)] for name in plan.layout.names if table.policy(name) == "template"}


def _integers(inputs: Inputs) -> integers.Policies:
    source = inputs.recipe
    where = source.where("integers")
    try:
        found = integers.Policies.of(source.spec.integers, inputs.first_template, inputs.models, where)
    except WeightmathError as error:
        raise placed(where, error) from None
    return found if source.spec.save else replace(found, policies={})  # where nothing is saved, nothing is decided


def _save(
    inputs: Inputs,
    plan: Plan,
    policies: integers.Policies,
    name: str,
    record: Unsettled | None,
    alike: dict[Hashable, Save],
) -> Save:
    """An output, planned; `alike` has those that were planned before, whose images serve others that are made so."""
    source, template = inputs.recipe, inputs.template(name)
    spec = source.spec.save[name]
    output = next(output for output in plan.request.outputs if output.name == name)
    there = plan.facts.present[output.value]
    sizes = dict(compress(zip(plan.layout.names, plan.layout.sizes, strict=True), there.tolist()))
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
        save = replace(save, once=computed_once(save, plan))
        if key is not None:
            alike[key] = save
        return save
    except WeightmathError as error:
        raise placed(source.where("save", name), error) from None
