"""A search: points that optuna proposes from what was found so far, within the ranges and lists of a recipe's `vary`.

A batch of points is asked, measured, and told in the order of asking, so that a search depends on its seed and its
batches alone, not on which program answers first. A search that was killed is asked again from the beginning and told
what its table knows: it proposes the same points, of which only those that are missing are measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from weightmath.engine.meter import Told, silent
from weightmath.errors import RecipeError, TableError
from weightmath.installed import check_installed
from weightmath.lab.metric import Function, Metric, undecided
from weightmath.lab.points import Point, Work
from weightmath.lab.study import Keep, Study, check_axes, check_names, keep_best, note, opened, study_of
from weightmath.lab.sweep import Swept, metric_of, recipe_of
from weightmath.lab.table import Row, Table, paths
from weightmath.paths import expanded
from weightmath.recipe import Recipe
from weightmath.recipe.metric import Goal
from weightmath.recipe.overrides import Changes
from weightmath.recipe.vary import Range, Setting, places_in
from weightmath.sizes import parse_size

Sampler = Literal["tpe", "cma"]
Axis = Sequence[Setting] | Range


@dataclass(frozen=True)
class Search:
    """A search, prepared: the study, and how points are proposed.

    axes     by parameter the range, or the list that is chosen from
    goals    one for each number that counts, the first above all
    budget   how many points there will be in all
    """

    study: Study
    metric: Metric
    axes: Mapping[str, Axis]
    goals: tuple[Goal, ...]
    sampler: Sampler
    seed: int
    budget: int


def prepare_search(
    source: Recipe,
    metric: Metric | None,
    *,
    budget: int,
    sampler: Sampler = "tpe",
    seed: int = 0,
    keep: Keep | None = None,
    stem: Path | None = None,
    resume: bool = False,
) -> Search:
    """Everything of a search but the work; raises what is wrong with it.

    Fails as `study_of` does, and with RecipeError without a metric, for lists that are zipped, and where the sampler is
    not made for the axes or goals.
    """
    vary = source.spec.vary
    assert vary is not None
    if vary.zip:
        hint = "one parameter t, and `let` entries made of it"
        raise RecipeError("a search has no zipped lists", where=source.where("vary", "zip"), hint=hint)
    if metric is None:
        raise RecipeError("a search needs a metric", hint="--metric 'python eval.py {checkpoint}'")
    axes: dict[str, Axis] = {**vary.grid, **vary.random}
    goals = tuple(metric.goals({"metric": 0.0}).values())
    example = {name: vary.values_of(name)[0] for name in axes}
    if sampler == "cma":
        _check_cma(source, axes, goals)
    study = study_of(
        "search",
        source,
        metric,
        axes=tuple(axes),
        example=example,
        identity=[metric.identity, sampler, seed, str(_optuna().__version__)],
        about={"metric": str(metric), "sampler": sampler, "seed": seed},
        keep=keep,
        stem=stem,
        resume=resume,
    )
    check_axes(study)
    if not places_in(study.ground.output):
        check_names(study, [Point(0, example)])
    return Search(study, metric, axes, goals, sampler, seed, budget)


def _check_cma(source: Recipe, axes: Mapping[str, Axis], goals: Sequence[Goal]) -> None:
    lists = [name for name, axis in axes.items() if not isinstance(axis, Range)]
    where = source.where("vary")
    if lists:
        raise RecipeError(f"CMA-ES moves in ranges, and `{lists[0]}` is a list", where=where, hint="--sampler tpe")
    if len(axes) < 2:
        raise RecipeError("CMA-ES needs two parameters or more", where=where, hint="--sampler tpe")
    if len(goals) > 1:
        raise RecipeError("CMA-ES follows one goal", where=where, hint="--sampler tpe, or a single --of NAME")


def run_search(search: Search, work: Work, progress: Told = silent) -> Swept:
    """Measure the points of a search that are not in its table yet. `progress` is told points done and in all.

    Fails as `measured` does, and with TableError where the table's points are not those that the sampler proposes.
    """
    proposals = _Proposals(search)
    with opened(search.study) as (table, folder):
        known = {row.index: row for row in table.table.rows}
        before = done = len(known)
        first = 0
        progress(done, search.budget)
        while first < search.budget:
            size = _size_of(first, known.values()) or min(work.jobs, search.budget - first)
            points = proposals.ask(first, size)
            _check_same(search, points, known)
            left = [point for point in points if point.index not in known]
            for row in note(search.study, table, left, folder, work, {"batch": [first, size]}):
                known[row.index] = row
                done += 1
                progress(done, search.budget)
            proposals.tell([known[point.index] for point in points])
            first += size
        return Swept(table.table, before, keep_best(search.study, table.table, work))


def _size_of(first: int, rows: Any) -> int | None:
    """How many points the batch had that began with this one; None if none of it is known."""
    return next((row.about["batch"][1] for row in rows if row.about["batch"][0] == first), None)


def _check_same(search: Search, points: Sequence[Point], known: Mapping[int, Row]) -> None:
    for point in points:
        if point.index in known and dict(known[point.index].params) != dict(point.params):
            assert search.study.stem is not None
            raise TableError(
                f"point {point.index} is not what the sampler proposes, so that it cannot be gone on with",
                where=str(paths(search.study.stem)[0]),
                hint="-o STEM begins another table",
            )


class _Proposals:
    """Points that optuna proposes, one batch after another."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._optuna = _optuna()
        samplers = self._optuna.samplers
        made = {"tpe": samplers.TPESampler, "cma": samplers.CmaEsSampler}[search.sampler](seed=search.seed)
        directions = ["maximize" if goal == "max" else "minimize" for goal in search.goals]
        self._study = self._optuna.create_study(directions=directions, sampler=made)
        self._space = {name: self._distribution(axis) for name, axis in search.axes.items()}
        self._asked: list[Any] = []

    def _distribution(self, axis: Axis) -> Any:
        kinds = self._optuna.distributions
        if not isinstance(axis, Range):
            return kinds.CategoricalDistribution(tuple(axis))
        if axis.whole:
            return kinds.IntDistribution(int(axis.low), int(axis.high))
        return kinds.FloatDistribution(axis.low, axis.high, log=axis.log)

    def ask(self, first: int, count: int) -> list[Point]:
        """The next points, numbered from `first`."""
        self._asked = [self._study.ask(self._space) for _ in range(count)]
        names = self._search.axes
        return [Point(first + i, {name: one.params[name] for name in names}) for i, one in enumerate(self._asked)]

    def tell(self, rows: Sequence[Row]) -> None:
        """What was found at the points that were asked, in their order."""
        for trial, row in zip(self._asked, rows, strict=True):
            goals = self._search.metric.goals(row.metrics)
            values = [row.metrics[name] for name in goals]
            if len(values) != len(self._search.goals):
                raise undecided(row.metrics, ", or `of:` in the recipe's metric")
            if any(map(math.isnan, values)):
                self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(trial, values)


def _optuna() -> ModuleType:
    check_installed("a search", "optuna", "cmaes")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def search(
    recipe: str | Path | Recipe,
    *,
    budget: int,
    sampler: Sampler = "tpe",
    seed: int = 0,
    metric: str | Function | None = None,
    of: str | Sequence[str] = (),
    goal: Goal | None = None,
    allow_code: bool = False,
    keep: Keep | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    jobs: int = 1,
    sets: Changes = (),
    inputs: Changes = (),
    threads: int | None = None,
    memory: int | str | None = None,
) -> Table:
    """Look for the best point within a recipe's `vary`, and return the results table; `table.pareto()` is the front.

    Parameters
        recipe   a recipe with `vary`: of `random` the ranges, of lists the values; `samples` and `seed` do not count
        budget   how many points are measured in all
        sampler  "tpe" (Bergstra et al., NeurIPS 2011; several goals: Ozaki et al., GECCO 2020) or "cma" (Hansen,
                 arXiv 1604.00772), which needs ranges of two parameters or more, and one goal
        seed     of the sampler
        jobs     evaluations at one time, of points that are proposed together
        metric, of, goal, allow_code, keep, out, resume, sets, inputs, threads, memory   as for `weightmath.sweep`
    Fails with RecipeError, MetricError, TableError, as `weightmath run` does, and without optuna.
    """
    source = recipe_of(recipe, sets, inputs)
    measure = metric_of(source, metric, of=of, goal=goal, allow_code=allow_code)
    stem = None if out is None else expanded(out)
    prepared = prepare_search(
        source, measure, budget=budget, sampler=sampler, seed=seed, keep=keep, stem=stem, resume=resume
    )
    return run_search(prepared, Work(jobs, threads, parse_size(memory))).table
