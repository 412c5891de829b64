"""`weightmath search`: look for the best point within a recipe's `vary`."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import typer

from weightmath.cli.failures import FAILED, REFUSED, failing
from weightmath.cli.sharing import sharing
from weightmath.cli.study_options import Asked

Budget = Annotated[int, typer.Option("--budget", min=1, metavar="N", help="How many points are measured in all.")]
Sampler = Annotated[
    Literal["tpe", "cma"], typer.Option("--sampler", help="TPE; or CMA-ES, for ranges of two parameters or more.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Of the sampler.")]


@sharing
def search(asked: Asked, budget: Budget, sampler: Sampler = "tpe", seed: Seed = 0) -> None:
    """Look for the best point within the ranges and lists of a recipe's `vary`, with optuna's samplers.

    Each point is in the table, STEM.jsonl and STEM.csv, as soon as it is measured. A search that was killed or stopped
    goes on with --resume, and measures no point twice; a larger --budget goes on with a search that is done. With
    several numbers that count (--of, or `goal:` of the recipe's metric) it looks for the Pareto front.
    Exit code 0: done; 1: failed while running; 2: refused before any work; 130: interrupted.
    """
    with failing(REFUSED, as_json=asked.json):
        from weightmath.lab.search import prepare_search, run_search

        source, measure, work = asked.opened()
        prepared = prepare_search(
            source, measure, budget=budget, sampler=sampler, seed=seed, keep=asked.keep, stem=asked.table,
            resume=asked.resume,
        )  # fmt: skip
    with failing(FAILED, as_json=asked.json):
        from weightmath.cli.study_page import measure_and_print

        measure_and_print(prepared.study, partial(run_search, prepared, work), as_json=asked.json)
