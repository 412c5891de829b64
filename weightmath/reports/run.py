"""What a run did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from weightmath.effects import Effect, effects
from weightmath.engine.outcome import Outcome
from weightmath.files.outputs import Save
from weightmath.questions import Claim
from weightmath.recipe.spec import SaveSpec
from weightmath.running import Report


@dataclass(frozen=True)
class OutputReport:
    """One output.

    merged            floating-point tensors that were computed
    copied            tensors of the section that are the template's
    rest              what else the template holds and the output keeps: "all", "undropped" (all but what `drop`
                      names), or "none" (`keep: weights`, or a container that has no place for it, such as delta files)
    changed           merged tensors of which some element differs from the template
    unchanged         merged tensors that came out as the template's, bit for bit
    elements          of merged tensors; `elements_changed` of them differ from the template
    retyped           how many merged tensors are stored in another dtype than the template's, by that dtype; what
                      they changed is told against the template as it would be in that dtype
    relative_change   norm(output - template) / norm(template) over merged tensors; None for a template of zeros
    cosine            between output and template, over merged tensors; None where one of them is zero
    sampled           whether relative change and cosine are of a sample of tiles, as for large models
    nonfinite         NaN and infinite elements, which `nonfinite: allow` lets pass
    encoding          of a delta file, which holds numbers alone: how it stores them; None for other outputs
    """

    name: str
    path: str
    bytes: int
    template: str
    merged: int
    copied: int
    rest: Literal["all", "undropped", "none"]
    changed: int
    unchanged: int
    elements: int
    elements_changed: int
    retyped: Mapping[str, int]
    relative_change: float | None
    cosine: float | None
    sampled: bool
    nonfinite: int
    encoding: str | None


@dataclass(frozen=True)
class Shown:
    """A value of `show`: a number, or numbers by cell or tensor."""

    text: str
    value: Any


@dataclass(frozen=True)
class RunReport:
    """What a run did.

    recipe      its file, "-" of standard input, or "-e"
    rules       what rules by names kept or took: `blocks BASE=0` left 197 tensors equal to `a`
    seconds     from the opening of the inputs to the last output in place
    peak_bytes  most memory that the process and its helpers have taken
    reads       times that the inputs were read, an earlier run's among them
    resumed     whether it went on where an earlier run was stopped
    show        values of `show`
    expect      claims of `expect`, which all held
    integers    tensors outside the vector in which inputs disagreed, and the policy that decided
    """

    recipe: str
    outputs: tuple[OutputReport, ...]
    rules: tuple[Effect, ...]
    seconds: float
    peak_bytes: int
    reads: int
    resumed: bool
    show: tuple[Shown, ...]
    expect: tuple[Claim, ...]
    integers: Mapping[str, str]
    warnings: tuple[str, ...]


def run_report(report: Report, seconds: float) -> RunReport:
    """The record of a run that took so long with the opening of its inputs."""
    templates = {save.name: save.template.name for save in report.job.saves}
    return RunReport(
        recipe=report.job.recipe.name,
        outputs=tuple(
            _output(save, report.job.recipe.spec.save[save.name], report.results.outcomes[save.name])
            for save in report.job.saves
        ),
        rules=effects(report.job.plan, report.results.outcomes, templates),
        seconds=seconds,
        peak_bytes=report.peak_bytes,
        reads=report.results.reads,
        resumed=report.resumed,
        show=tuple(Shown(text, value) for text, value in report.answers.shown),
        expect=report.answers.claims,
        integers=report.integers,
        warnings=report.warnings,
    )


def _output(save: Save, spec: SaveSpec, outcome: Outcome) -> OutputReport:
    merged = len(save.merged)
    changes = outcome.tensors.values()
    changed = sum(change.changed > 0 for change in changes)
    return OutputReport(
        name=save.name,
        path=str(save.target),
        bytes=save.target.stat().st_size if save.encoding else save.image.size,
        template=save.template.name,
        merged=merged,
        copied=len(save.copied),
        rest=_rest(save, spec),
        changed=changed,
        unchanged=merged - changed,
        elements=sum(change.elements for change in changes),
        elements_changed=sum(change.changed for change in changes),
        retyped=Counter(new.name for new in save.retyped.values()),
        relative_change=outcome.relative_change,
        cosine=outcome.cosine,
        sampled=outcome.sampled,
        nonfinite=sum(change.nonfinite for change in changes),
        encoding=save.encoding.options.kind if save.encoding else None,
    )


def _rest(save: Save, spec: SaveSpec) -> Literal["all", "undropped", "none"]:
    if spec.keep == "weights" or save.left_behind or save.encoding:
        return "none"
    return "undropped" if spec.drop else "all"
