"""`weightmath sweep`: measure every point that a recipe's `vary` means."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from weightmath.cli import options
from weightmath.cli.failures import FAILED, REFUSED, failing


def sweep(
    recipe: options.VariedRecipe,
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
    """Measure every point that a recipe's `vary` means, and write a results table: STEM.jsonl and STEM.csv.

    Each point is in the table as soon as it is measured. A sweep that was killed or stopped goes on with --resume, and
    measures no point twice. Points that need a file share readings of their inputs, and their files are removed but for
    those that --keep names; a metric that is a function needs no file. The recipe's metric is a program that runs on
    this machine: read the recipes of strangers first.
    Exit code 0: done; 1: failed while running; 2: refused before any work; 130: interrupted.
    """
    with failing(REFUSED, as_json=json):
        from weightmath.errors import RecipeError
        from weightmath.lab.points import Work
        from weightmath.lab.sweep import metric_of, prepare_sweep, recipe_of, run_sweep
        from weightmath.sizes import parse_size

        work = Work(jobs, threads, parse_size(memory))
        source = recipe_of(recipe, sets or (), inputs or ())
        measure = metric_of(source, metric, of=of or (), goal=goal, allow_code=allow_code)
        if measure is None and jobs > 1:
            raise RecipeError("--jobs is of evaluations, and there is no metric", hint="--threads is of the arithmetic")
        table = Path(stem) if stem else recipe.with_suffix("")
        prepared = prepare_sweep(source, measure, keep=keep, stem=table, resume=resume)
    with failing(FAILED, as_json=json):
        from weightmath.cli.study_page import measure_and_print

        measure_and_print(prepared.study, partial(run_sweep, prepared, work), as_json=json)
