"""`weightmath search`: look for the best point within a recipe's `vary`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from weightmath.cli import options
from weightmath.cli.failures import FAILED, REFUSED, failing

Budget = Annotated[int, typer.Option("--budget", min=1, metavar="N", help="How many points are measured in all.")]
Sampler = Annotated[
    Literal["tpe", "cma"], typer.Option("--sampler", help="TPE; or CMA-ES, for ranges of two parameters or more.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Of the sampler.")]


def search(
    recipe: options.VariedRecipe,
    budget: Budget,
    sampler: Sampler = "tpe",
    seed: Seed = 0,
    metric: options.Metric = None,
    of: options.Of = None,
    goal: options.Goal = None,
    allow_code: options.AllowCode = False,
    jobs: options.Jobs = 1,
    keep: options.Keep = None,
    resume: options.Resume = False,
    stem: options.Stem = None,
    sets: options.Set = None,
    inputs: options.Input = None,
    threads: options.Threads = None,
    memory: options.Memory = None,
    json: options.Json = False,
) -> None:
    """Look for the best point within the ranges and lists of a recipe's `vary`, with optuna's samplers.

    Each point is in the table, STEM.jsonl and STEM.csv, as soon as it is measured. A search that was killed or stopped
    goes on with --resume, and measures no point twice; a larger --budget goes on with a search that is done. With
    several numbers that count (--of, or `goal:` of the recipe's metric) it looks for the Pareto front.
    Exit code 0: done; 1: failed while running; 2: refused before any work; 130: interrupted.
    """
    with failing(REFUSED, as_json=json):
        from weightmath.lab.points import Work
        from weightmath.lab.search import prepare_search, run_search
        from weightmath.lab.sweep import metric_of, recipe_of
        from weightmath.sizes import parse_size

        work = Work(jobs, threads, parse_size(memory))
        source = recipe_of(recipe, sets or (), inputs or ())
        measure = metric_of(source, metric, of=of or (), goal=goal, allow_code=allow_code)
        table = Path(stem) if stem else recipe.with_suffix("")
        prepared = prepare_search(
            source, measure, budget=budget, sampler=sampler, seed=seed, keep=keep, stem=table, resume=resume
        )
    with failing(FAILED, as_json=json):
        from weightmath.cli.study_page import measure_and_print

        measure_and_print(prepared.study, partial(run_search, prepared, work), as_json=json)
