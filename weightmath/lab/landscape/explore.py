"""A landscape, measured: the sweep of its recipe, with what its table says besides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from weightmath.checkpoint.ending import ENDINGS
from weightmath.lab.landscape.robustness import check_interval
from weightmath.lab.landscape.views import View
from weightmath.lab.metric import Function, Metric, parse_metric
from weightmath.lab.points import Work
from weightmath.lab.study import Keep
from weightmath.lab.sweep import Sweep, prepare_sweep, run_sweep
from weightmath.lab.table import Table, paths
from weightmath.paths import expanded
from weightmath.recipe import loads
from weightmath.recipe.metric import Goal
from weightmath.several import several
from weightmath.sizes import parse_size


def prepare_view(
    view: View, metric: Metric, *, keep: Keep = "none", stem: Path | None = None, resume: bool = False
) -> Sweep:
    """The sweep of a landscape, ready to run. Fails as `prepare_sweep` does."""
    if view.what == "noise":
        check_interval()
    recipe = loads(view.recipe(_save(view, stem)), "landscape")
    about = {**view.about, "recalibrate": metric.hook} if metric.hook else view.about
    return prepare_sweep(recipe, metric, keep=keep, stem=stem, resume=resume, what=view.what, about=about)


def _save(view: View, stem: Path | None) -> str:
    """The name of a point's file: the table's, the point's parameters, the ending of the first checkpoint."""
    first = next(iter(view.paths.values())).name.lower()
    ending = max((known for known in ENDINGS if first.endswith(known)), key=len, default="/")
    base = view.what if stem is None else paths(stem)[0].stem
    return f"{base}_{'_'.join(f'{{{name}}}' for name in view.formula.params)}{ending}"


def warnings_of(view: View, sweep: Sweep) -> tuple[str, ...]:
    """What makes the numbers doubtful: stale statistics, unless they are recomputed, and what `plan` warns of."""
    metric = sweep.study.metric
    stale = () if metric is not None and metric.hook else view.warnings
    return (*stale, *(warning for warning in sweep.study.warnings if not warning.startswith("BatchNorm")))


def explore(
    view: View,
    metric: str | Function,
    *,
    of: str | Sequence[str] = (),
    goal: Goal | None = None,
    recalibrate: str | Function | None = None,
    allow_code: bool = False,
    keep: Keep = "none",
    out: str | Path | None = None,
    resume: bool = False,
    jobs: int = 1,
    threads: int | None = None,
    memory: int | str | None = None,
) -> Table:
    """Measure every point of a landscape, and return the results table.

        table = explore(line(Path("a.ckpt"), Path("b.ckpt")), loss, goal="min")
        barriers(table)

    Parameters
        view         from `line`, `plane`, `around`, `along`, `trajectory` or `noise`
        metric       a command with `{checkpoint}`, `module:function`, or a function of a state dict
        recalibrate  a hook that gets each point's state dict before it is measured, and changes it or returns what it
                     has changed: to compute BatchNorm's statistics anew
        keep, out, the others   as for `weightmath.lab.sweep.sweep`; kept files are named after `out` and their point
    Fails with RecipeError, MetricError, TableError, and as `weightmath run` does.
    """
    measure = parse_metric(metric, allow_code=allow_code, of=several(of), goal=goal, recalibrate=recalibrate)
    sweep = prepare_view(view, measure, keep=keep, stem=None if out is None else expanded(out), resume=resume)
    return run_sweep(sweep, Work(jobs, threads, parse_size(memory))).table
