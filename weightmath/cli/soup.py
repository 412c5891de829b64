"""`weightmath soup`: average fine-tunes, all of them or those that help."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weightmath.cli import options
from weightmath.cli.answer import answer
from weightmath.cli.failures import FAILED, REFUSED, failing

if TYPE_CHECKING:
    from weightmath.reports.soup import SoupReport

Models = Annotated[list[Path], typer.Argument(metavar="CKPT...", help="Checkpoints of one layout.")]
Base = Annotated[
    Path | None,
    typer.Option(
        "--base", metavar="CKPT", help="What they are fine-tunes of: the output keeps its everything else. The first."
    ),
]
Out = Annotated[str, typer.Option("-o", "--output", metavar="PATH", help="The output.")]
Scores = Annotated[
    Path | None,
    typer.Option(
        "--scores", metavar="FILE", help="Scores of the models alone: JSON from names to numbers, or lines name,score."
    ),
]
Greedy = Annotated[
    bool | None,
    typer.Option(
        "--greedy/--uniform",
        help="Keep those that help, one after another, or average all. Greedy where there is a metric.",
        show_default=False,
    ),
]
Top = Annotated[
    int | None,
    typer.Option("--top", metavar="N", min=1, help="With --uniform: average the N best.", show_default=False),
]


def soup(
    models: Models,
    out: Out,
    metric: options.Metric = None,
    of: options.Of = None,
    goal: options.Goal = None,
    allow_code: options.AllowCode = False,
    scores: Scores = None,
    greedy: Greedy = None,
    top: Top = None,
    base: Base = None,
    threads: options.Threads = None,
    memory: options.Memory = None,
    resume: options.Resume = False,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Average fine-tunes of one base: a model soup (Wortsman et al., arXiv 2203.05482).

    The greedy rule goes through the models, the best first, and keeps each whose average with those before it is at
    least as good as without it; a tie keeps it, and of equal models the one named first comes first. The scores lie
    beside the output in a results table. Fine-tunes that are all good and differ by chance gain most; fine-tunes of
    other bases do not average.
    Exit code 0: done; 1: failed while running; 2: refused before any work; 130: interrupted.
    """
    with failing(REFUSED, as_json=json):
        from weightmath.cli.progress import progress_bar
        from weightmath.lab.points import Work
        from weightmath.lab.scores import read_scores
        from weightmath.lab.soup import prepare_soup, run_soup, soup_metric
        from weightmath.sizes import parse_size

        measure = soup_metric(metric, of or (), goal, allow_code=allow_code, scored=scores is not None)
        prepared = prepare_soup(
            models,
            out,
            measure,
            base=base,
            scores=read_scores(scores, models) if scores else None,
            goal=goal,
            rule=None if greedy is None else "greedy" if greedy else "uniform",
            top=top,
            force=force,
            resume=resume,
        )
        work = Work(1, threads, parse_size(memory))
    with failing(FAILED, as_json=json):
        from weightmath.reports.soup import soup_report

        with progress_bar("measuring", wanted=not json, points=True) as progress:
            report = soup_report(prepared, run_soup(prepared, work, progress))
        answer(report, _print, as_json=json)


def _print(report: SoupReport) -> None:
    from weightmath.cli.page import Page
    from weightmath.cli.quantities import number_text

    page = Page()
    page.line(
        f"{report.checkpoint}  ({report.rule}, {len(report.ingredients)} of {len(report.models)} models)", style="bold"
    )
    rows = []
    for row in report.rows:
        kept = {True: "kept", False: "left out", None: ""}[row.about.get("kept")]
        soup = f"with {row.params['model']}" if "kept" in row.about else f"the average of {row.params['size']}"
        what = str(row.params["model"]) if row.params["stage"] == "alone" else soup
        rows.append([number_text(row.metrics["score"]), kept, what])
    if rows:
        page.table(rows, head=["score", "", "of"], right=(0,))
    else:
        page.listed(report.ingredients)
    if report.score is not None and report.best is not None:
        page.line()
        page.line(f"the soup scores {number_text(report.score)}, the best model alone {number_text(report.best)}")
    if report.table:
        page.line(f"the scores are in {report.table}")
    page.warnings(report.warnings)
