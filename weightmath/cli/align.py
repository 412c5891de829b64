"""`weightmath align`: bring the units of one model into the order of another's."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weightmath.cli import options
from weightmath.cli.answer import answer
from weightmath.cli.failures import FAILED, REFUSED, failing
from weightmath.errors import counted

if TYPE_CHECKING:
    from weightmath.reports.alignment import AlignReport

_SHOWN = 40

First = Annotated[Path, typer.Argument(metavar="A", help="The model whose order is taken.")]
Second = Annotated[Path, typer.Argument(metavar="B", help="The model that is brought into this order.")]
Output = Annotated[str, typer.Option("-o", "--output", metavar="PATH", help="Where B goes in its new order.")]
Spec = Annotated[
    str,
    typer.Option("--spec", metavar="SPEC", help="auto, chain, resnet, bert, gpt2, llama, torch, vit, or a YAML file."),
]
Heads = Annotated[
    int | None,
    typer.Option("--heads", min=1, help="Number of attention heads (of queries, where groups of them share keys)."),
]
SaveSpec = Annotated[
    Path | None, typer.Option("--save-spec", metavar="FILE", help="Write the spec, with all names, as YAML.")
]
MetricOf = Annotated[
    str | None, typer.Option("--metric", metavar="CMD", help="Must say the same of B and of the output.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of the order in which permutations are tried.")]


def align(
    first: First,
    second: Second,
    output: Output,
    spec: Spec = "auto",
    heads: Heads = None,
    save_spec: SaveSpec = None,
    metric: MetricOf = None,
    allow_code: options.AllowCode = False,
    section: options.Section = None,
    seed: Seed = 0,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Bring the hidden units of B into the order in which they are nearest to A's: the same function, ready to merge.

    A spec says which axis of which tensor moves with which permutation; `auto` tells it by names and shapes, or says
    what leaves it in doubt. One of your own is YAML: `units of fc1: {fc1.weight: 0, fc1.bias: 0, fc2.weight: 1}` moves
    rows, biases and columns together. What names cannot show, such as a residual connection in a chain of equal widths,
    --metric does.
    """
    with failing(REFUSED, as_json=json):
        from weightmath import align as aligning
        from weightmath.lab.metric import optional_metric
        from weightmath.text_files import check_free, write_whole

        if save_spec is not None:
            check_free(save_spec, force=force, folder="--save-spec names a file")
        measure = optional_metric(metric, allow_code=allow_code)
        job = aligning.prepare(first, second, output, spec=spec, heads=heads, section=section, force=force)
    with failing(FAILED, as_json=json):
        from weightmath.cli.progress import progress_bar
        from weightmath.reports.alignment import align_report

        with measure or nullcontext(), progress_bar("matching", wanted=not json, points=True) as progress:
            report = align_report(aligning.run(job, seed=seed, metric=measure, force=force, progress=progress))
        if save_spec is not None:
            write_whole(save_spec, job.text)
        answer(report, _print, as_json=json)


def _print(report: AlignReport) -> None:
    from weightmath.cli.page import Page

    page = Page()
    page.line(report.output, style="bold")
    before, after = report.before, report.after
    ended = f"{counted(report.sweeps, 'sweep')}{'' if report.converged else ', and still gaining'}"
    rows = [
        ["spec", report.spec],
        ["cosine to A", f"{before.cosine:.6f} before, {after.cosine:.6f} now, in the tensors that move"],
        ["distance", f"{before.distance:.6g} before, {after.distance:.6g} now"],
        ["matched", ended],
    ]
    if report.metric_before is not None and report.metric_after is not None:
        told = ", ".join(f"{name} {number:.6g}" for name, number in report.metric_after.items())
        rows.append(["metric", f"{told}, as before"])
    page.table(rows)
    page.heading("permutations")
    shown = [[one.name, f"{one.moved:,} of {one.units:,} moved", f"{one.axes} axes"] for one in report.permutations]
    page.table(shown[:_SHOWN])
    page.rest(len(shown) - _SHOWN, where=": --json prints them")
    if report.left_out:
        page.heading(f"left where they are ({len(report.left_out)}): {report.left_out[0].why}")
        page.listed([one.name for one in report.left_out[:5]])
    page.warnings(report.warnings)
