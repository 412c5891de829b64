"""Model soups: the average of fine-tunes of one base, of all or of those that help (Wortsman et al., arXiv 2203.05482).

The greedy rule is the paper's Recipe 1. Models are put in order of their own score, the best first; the best is the
first ingredient. Each next one is kept if the average with it scores at least as well as the average without it: a tie
keeps it. Of models with equal scores the one that was named first comes first; a score that is NaN is the worst and
keeps nothing.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from weightmath.checkpoint.hub import absolute, located
from weightmath.engine.meter import Told, silent
from weightmath.errors import MetricError, RecipeError
from weightmath.job import prepare
from weightmath.lab.appender import Appender, check_free, check_table
from weightmath.lab.metric import Function, Metric, optional_metric, undecided
from weightmath.lab.points import Point, Work, ground_of, measured
from weightmath.lab.scratch import scratch
from weightmath.lab.study import telling
from weightmath.lab.table import Head, Row, Table, paths
from weightmath.paths import expanded
from weightmath.recipe import Recipe, of_data
from weightmath.recipe.metric import Goal
from weightmath.recipe.vary import Setting
from weightmath.running import check_start, run
from weightmath.several import several
from weightmath.sizes import parse_size

Rule = Literal["greedy", "uniform"]


@dataclass(frozen=True)
class Soup:
    """A soup, prepared.

    models   the checkpoints, in the order in which they were named
    out      the output's path; a folder's ends in a slash
    base     whose everything-else the output keeps, and from which differences are taken; None: the first ingredient
    scores   of each model alone, where they are known
    goal     whether more of a score is better
    top      of the uniform rule: how many of the best are averaged; None: all
    """

    models: tuple[Path, ...]
    out: str
    base: Path | None
    metric: Metric | None
    scores: Mapping[Path, float]
    goal: Goal
    rule: Rule
    top: int | None
    force: bool
    resume: bool
    warnings: tuple[str, ...] = ()

    def recipe(self, ingredients: Sequence[Path]) -> Recipe:
        """The recipe of an average."""
        inputs = {f"m{self.models.index(path) + 1}": absolute(path) for path in ingredients}
        value, template = f"soup([{', '.join(inputs)}])", next(iter(inputs))
        if self.base is not None:
            value = f"base + mean([{', '.join(f'{name} - base' for name in inputs)}])"
            inputs, template = {"base": absolute(self.base), **inputs}, "base"
        return of_data({"inputs": inputs, "save": {self.out: {"value": value, "template": template}}}, "soup")

    @property
    def head(self) -> Head:
        """The head of its table."""
        key = hashlib.blake2b(digest_size=16)
        for path in (*self.models, *([self.base] if self.base else [])):
            stat = located(path).stat()
            key.update(repr((str(path), stat.st_size, stat.st_mtime_ns, self.scores.get(path))).encode())
        key.update(repr((self.metric and self.metric.identity, self.goal, self.rule, self.top, self.base)).encode())
        about = {"metric": str(self.metric or ""), "rule": self.rule}
        params, goal = ("stage", "model", "size"), {"score": self.goal}
        return Head("soup", params, ("score",), goal, recipe_hash=key.hexdigest(), about=about)

    @property
    def stem(self) -> Path:
        """Where the table lies: beside the output."""
        return Path(self.out).with_suffix("")

    @property
    def evaluations(self) -> int:
        """How many measurements there are."""
        if self.metric is None:
            return 0
        alone = 0 if self.scores else len(self.models)
        return alone + (len(self.models) - 1 if self.rule == "greedy" else 1)

    def is_as_good(self, score: float, other: float) -> bool:
        """Whether a score is at least as good as another; NaN is never."""
        return score >= other if self.goal == "max" else score <= other

    def order(self, alone: Mapping[Path, float]) -> list[Path]:
        """The models, the best first; of equals the one that was named first."""
        sign = -1 if self.goal == "max" else 1
        return sorted(self.models, key=lambda path: (math.isnan(alone[path]), sign * alone[path]))


@dataclass(frozen=True)
class Souped:
    """What came of it.

    table        every score, in the order of the work: of models alone, then of averages
    ingredients  what the soup is made of, in the order in which it was kept
    score        of the soup; None where nothing measured it
    best         the best score of a model alone; None where none is known
    checkpoint   the output
    """

    table: Table
    ingredients: tuple[Path, ...]
    score: float | None
    best: float | None
    checkpoint: Path


def soup_metric(
    metric: str | Function | None, of: str | Sequence[str], goal: Goal | None, *, allow_code: bool, scored: bool
) -> Metric | None:
    """The metric of a soup, if there is one. `goal` may say of given scores whether more is better."""
    goal_of_metric = None if metric is None and scored else goal
    return optional_metric(metric, allow_code=allow_code, of=several(of), goal=goal_of_metric)


def prepare_soup(
    models: Sequence[Path],
    out: str,
    metric: Metric | None,
    *,
    base: Path | None = None,
    scores: Mapping[Path, float] | None = None,
    goal: Goal | None = None,
    rule: Rule | None = None,
    top: int | None = None,
    force: bool = False,
    resume: bool = False,
) -> Soup:
    """Everything of a soup but the work; raises what is wrong with it.

    rule    None: greedy where there is a metric, else uniform
    Fails   as `prepare` and `check_start` do, with TableError as `check_table`, and with RecipeError for one model, a
            model that is named twice, scores of some models only, the greedy rule without a metric, `top` without
            scores, scores that choose nothing, `resume` where nothing is noted
    """
    chosen: Rule = rule or ("greedy" if metric else "uniform")
    if len(models) < 2 or len({path.resolve() for path in models}) < len(models):
        raise RecipeError("a soup is made of two models or more, each named once")
    if chosen == "greedy" and metric is None:
        hint = "--metric 'python eval.py {checkpoint}'; or --uniform"
        raise RecipeError("the greedy rule compares averages, which only a metric can measure", hint=hint)
    if top is not None and (chosen == "greedy" or not (metric or scores)):
        raise RecipeError("the best are averaged by the uniform rule, and need scores", hint="--uniform --scores FILE")
    if scores and metric is None and top is None:
        hint = "--top N averages the best; --metric 'python eval.py {checkpoint}' keeps those that help"
        raise RecipeError("scores alone choose nothing: all models are averaged", hint=hint)
    if resume and not (metric or scores):
        raise RecipeError("--resume goes on with scores that are noted, and nothing is measured", hint="leave it out")
    unknown = [path for path in models if scores and path not in scores]
    if unknown:
        raise RecipeError(f"there is no score of `{unknown[0]}`", hint="scores are by the paths of the models")
    if top is not None and not 1 <= top <= len(models):
        raise RecipeError(f"there are {len(models)} models, of which {top} cannot be the best")
    soup = Soup(tuple(models), out, base, metric, scores or {}, goal or "max", chosen, top, force, resume)
    job = prepare(soup.recipe(models))
    check_start(job, force=force)
    if (metric or scores) and force and not resume:
        check_free(soup.stem, resume=True)
    elif metric or scores:
        check_table(soup.stem, soup.head, resume=resume)
    return replace(soup, warnings=job.warnings)


def run_soup(soup: Soup, work: Work, progress: Told = silent) -> Souped:
    """Do the work of a soup. `progress` is told measurements done and in all.

    Fails as `measured` and `run` do, and with MetricError where several numbers could count, or all are NaN. No output
    appears then.
    """
    with ExitStack() as stack:
        table: Appender | None = None
        if soup.metric or soup.scores:
            for file in paths(soup.stem) if soup.force and not soup.resume else ():
                file.unlink(missing_ok=True)
            table = stack.enter_context(Appender(soup.stem, soup.head, resume=soup.resume))
            stack.enter_context(telling(table, paths(soup.stem)[0]))
        if soup.metric is not None:
            stack.enter_context(soup.metric)
        folder = stack.enter_context(scratch(paths(soup.stem)[0]))
        tasting = _Tasting(soup, work, table, folder, progress)
        alone = tasting.alone()
        if alone and all(map(math.isnan, alone.values())):
            raise MetricError("the score of every model is NaN: nothing says which to take", hint="look at the metric")
        ingredients, score = tasting.greedy(alone) if soup.rule == "greedy" else tasting.uniform(alone)
        run(prepare(soup.recipe(ingredients)), threads=work.threads, memory=work.memory, force=soup.force)
        found = Table(soup.head, ()) if table is None else table.table
    best = alone[soup.order(alone)[0]] if alone else None
    return Souped(found, tuple(ingredients), score, best, Path(soup.out))


class _Tasting:
    """Scores that are taken and noted one after another; those that are noted already are not taken again."""

    def __init__(self, soup: Soup, work: Work, table: Appender | None, folder: Path, progress: Told) -> None:
        self._soup = soup
        self._work = work
        self._table = table
        self._folder = folder
        self._progress = progress
        rows = () if table is None else table.table.rows
        self._known = {(row.params["stage"], *row.about["ingredients"]): row.metrics["score"] for row in rows}
        self._done = 0

    def alone(self) -> dict[Path, float]:
        """The score of each model by itself; none where nothing tells it."""
        return {path: self._taste("alone", [path]) for path in self._soup.models} if self._table is not None else {}

    def greedy(self, alone: Mapping[Path, float]) -> tuple[list[Path], float]:
        """The ingredients by the greedy rule, and the score of their average."""
        first, *others = self._soup.order(alone)
        kept, best = [first], alone[first]
        for path in others:
            score = self._taste("soup", [*kept, path], best)
            if self._soup.is_as_good(score, best):
                kept, best = [*kept, path], score
        return kept, best

    def uniform(self, alone: Mapping[Path, float]) -> tuple[list[Path], float | None]:
        """All models or the best of them, and the score of their average where there is a metric."""
        chosen = self._soup.order(alone)[: self._soup.top] if self._soup.top else list(self._soup.models)
        return chosen, None if self._soup.metric is None else self._taste("soup", chosen)

    def _taste(self, stage: str, ingredients: Sequence[Path], best: float | None = None) -> float:
        """The score of a model alone or of an average, which is noted, and whether it is as good as `best`."""
        soup, names = self._soup, [str(path) for path in ingredients]
        begun = time.monotonic()
        score = self._known.get((stage, *names))
        if score is None:
            assert self._table is not None
            told = stage == "alone" and bool(soup.scores)
            score = soup.scores[ingredients[0]] if told else self._score(ingredients)
            about = {"ingredients": names, **({} if best is None else {"kept": soup.is_as_good(score, best)})}
            params: dict[str, Setting] = {"stage": stage, "model": ingredients[-1].name, "size": len(ingredients)}
            seconds = round(time.monotonic() - begun, 4)
            self._table.append(Row(len(self._table), params, {"score": score}, seconds, None, about))
        self._done += stage == "soup" or not soup.scores
        self._progress(self._done, soup.evaluations)
        return score

    def _score(self, ingredients: Sequence[Path]) -> float:
        metric = self._soup.metric
        assert metric is not None
        if metric.needs_file and len(ingredients) == 1:
            found: Mapping[str, float] = metric.evaluate(checkpoint=located(ingredients[0]).absolute())
        else:
            ground, points = ground_of(self._soup.recipe(ingredients)), [Point(0, {})]
            (one,) = measured(ground, points, metric, self._folder, self._work)
            found = one.metrics
        goals = metric.goals(found)
        if not goals:
            raise undecided(found)
        return found[next(iter(goals))]


def soup(
    models: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    metric: str | Function | None = None,
    of: str | Sequence[str] = (),
    goal: Goal | None = None,
    allow_code: bool = False,
    base: str | Path | None = None,
    scores: Mapping[str | Path, float] | None = None,
    rule: Rule | None = None,
    top: int | None = None,
    force: bool = False,
    resume: bool = False,
    threads: int | None = None,
    memory: int | str | None = None,
) -> Souped:
    """Average models of one base: all, the best, or those that help, and write the average as one checkpoint.

    Parameters
        models   checkpoints of one layout
        out      the output
        metric, of, goal, allow_code   as for `weightmath.sweep`
        base     whose everything-else the output keeps; the average is base + mean(differences), in which what no
                 model has changed stays to the bit. None: the first ingredient, and the plain mean
        scores   of each model alone, so that the metric measures averages only
        rule     "greedy" (see the module) or "uniform"; None: greedy where there is a metric
        top      of the uniform rule: how many of the best are averaged
        resume   go on with the scores that are in the table beside the output
    Fails with RecipeError, MetricError, TableError and as `weightmath run` does.
    """
    paths_of = [expanded(path) for path in several(models)]
    measure = soup_metric(metric, of, goal, allow_code=allow_code, scored=scores is not None)
    known = None if scores is None else {expanded(path): float(score) for path, score in scores.items()}
    prepared = prepare_soup(
        paths_of,
        os.path.expanduser(str(out)),
        measure,
        base=None if base is None else expanded(base),
        scores=known,
        goal=goal,
        rule=rule,
        top=top,
        force=force,
        resume=resume,
    )
    return run_soup(prepared, Work(1, threads, parse_size(memory)))
