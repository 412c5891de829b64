"""`weightmath sweep`: measure every point that a recipe's `vary` means."""

from __future__ import annotations

from functools import partial

from weightmath.cli.failures import FAILED, REFUSED, failing
from weightmath.cli.sharing import sharing
from weightmath.cli.study_options import Asked


@sharing
def sweep(asked: Asked) -> None:
    """Measure every point that a recipe's `vary` means, and write a results table: STEM.jsonl and STEM.csv.

    Each point is in the table as soon as it is measured. A sweep that was killed or stopped goes on with --resume, and
    measures no point twice. Points that need a file share readings of their inputs, and their files are removed but for
    those that --keep names; a metric that is a function needs no file. The recipe's metric is a program that runs on
    this machine: read the recipes of strangers first.
    Exit code 0: done; 1: failed while running; 2: refused before any work; 130: interrupted.
    """
    with failing(REFUSED, as_json=asked.json):
        from weightmath.errors import RecipeError
        from weightmath.lab.sweep import prepare_sweep, run_sweep

        source, measure, work = asked.opened()
        if measure is None and work.jobs > 1:
            raise RecipeError("--jobs is of evaluations, and there is no metric", hint="--threads is of the arithmetic")
        prepared = prepare_sweep(source, measure, keep=asked.keep, stem=asked.table, resume=asked.resume)
    with failing(FAILED, as_json=asked.json):
        from weightmath.cli.study_page import measure_and_print

        measure_and_print(prepared.study, partial(run_sweep, prepared, work), as_json=asked.json)
