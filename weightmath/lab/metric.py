"""Metrics: how good a point is, said by a command, by a program that stays, or by a function of the user's own.

A command gets a checkpoint's path in place of `{checkpoint}` and prints, on its last line, a number or JSON of numbers.
It is started without a shell, in the folder of the recipe. A worker is started once, reads a path a line from its input
and answers each with a line. A function `module:function` gets a state dict, name -> torch tensor, and no file is
written; its code runs in this process, so it must be allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from weightmath.errors import MetricError
from weightmath.lab.foreign import called, imported, name_of
from weightmath.lab.numbers import numbers_of
from weightmath.lab.programs import Command, Worker
from weightmath.lab.recalibrate import Measure, Recalibrated, State
from weightmath.recipe.metric import Goal, MetricSpec, is_function, metric_spec

Function = Callable[[State], Any]


class Metric:
    """An evaluation, as a context manager: what it has started ends with it. Any thread may evaluate.

    needs_file   whether it measures a checkpoint's file; else it measures a state dict
    hook         what each point goes through before, as text; "" for nothing
    """

    def __init__(self, measure: Measure, spec: MetricSpec, hook: str = "") -> None:
        self._measure = measure
        self._spec = spec
        self.hook = hook
        self.needs_file = measure.needs_file

    def __str__(self) -> str:
        return str(self._spec.run or self._spec.worker)

    @property
    def identity(self) -> str:
        """All that it says, as text: metrics of one identity measure the same."""
        return f"{self._spec!r} {self.hook}"

    def evaluate(self, state: State | None = None, checkpoint: Path | None = None) -> dict[str, float]:
        """The numbers of a point, by name; one without a name is called as `of` says, else `metric`.

        Fails with MetricError where the evaluation fails, or says no number, or not those that `of` and `goal` name.
        """
        found = numbers_of(self._measure(state, checkpoint), self._spec.goals)
        missing = [name for name in self._spec.goals if name not in found]
        if missing:
            raise MetricError(f"the metric gives no `{missing[0]}`", hint=f"it gives: {' '.join(found)}")
        return found

    def goals(self, found: Mapping[str, float]) -> dict[str, Goal]:
        """The goal of each number that counts, given those of one point: a number that is alone counts by itself."""
        alone = self._spec.goal if isinstance(self._spec.goal, str) and len(found) == 1 else None
        return self._spec.goals or (dict.fromkeys(found, alone) if alone else {})

    def stop(self) -> None:
        """End what runs now; evaluations that other threads wait for fail."""
        self._measure.stop()

    def __enter__(self) -> Metric:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def undecided(found: Mapping[str, float], ways: str = "") -> MetricError:
    """Of several numbers, where nothing says which counts; `ways` are further ways out."""
    hint = f"say which counts: --of {next(iter(found))}{ways}"
    return MetricError(f"the metric gives several numbers: {' '.join(found)}", hint=hint)


def parse_metric(
    spec: str | MetricSpec | Function,
    *,
    allow_code: bool = False,
    folder: str | Path = ".",
    of: tuple[str, ...] = (),
    goal: Goal | None = None,
    recalibrate: str | Function | None = None,
) -> Metric:
    """The metric that a recipe, a command line or a line of Python means.

    Parameters
        spec        a command with `{checkpoint}`, `module:function`, what a recipe says, or a function itself
        allow_code  whether `module:function` may be imported and run in this process
        folder      where commands run and modules are looked for first: the recipe's folder
        of, goal    which numbers count, and whether more or less is better; in place of the recipe's
        recalibrate  a hook that each point goes through before it is measured, `module:function` or a function itself
    Fails with RecipeError for a metric that is none, and MetricError for `module:function` without leave.
    """
    function = None if isinstance(spec, str | MetricSpec) else spec
    given = spec.model_dump(exclude_defaults=True) if isinstance(spec, MetricSpec) else {"run": _text(spec)}
    whole = metric_spec({**given, **({"of": of} if of else {}), **({"goal": goal} if goal else {})})
    if function is None and whole.run is not None and is_function(whole.run):
        function = imported("metric", whole.run, Path(folder), allowed=allow_code)
    measure = _measure(whole, function, Path(folder))
    if recalibrate is None:
        return Metric(measure, whole)
    hook = _text(recalibrate)
    if isinstance(recalibrate, str):
        recalibrate = imported("--recalibrate", recalibrate, Path(folder), allowed=allow_code)
    return Metric(Recalibrated(measure, recalibrate), whole, hook)


def optional_metric(
    spec: str | MetricSpec | Function | None,
    *,
    allow_code: bool = False,
    folder: str | Path = ".",
    of: tuple[str, ...] = (),
    goal: Goal | None = None,
) -> Metric | None:
    """As `parse_metric`; None without one. MetricError where something is said of it, and there is none."""
    if spec is not None:
        return parse_metric(spec, allow_code=allow_code, folder=folder, of=of, goal=goal)
    idle = [name for name, said in (("--of", of), ("--goal", goal), ("--allow-code", allow_code)) if said]
    if idle:
        fact = f"{idle[0]} says something of a metric, and there is none"
        raise MetricError(fact, hint="--metric 'python eval.py {checkpoint}'")
    return None


def _measure(spec: MetricSpec, function: Function | None, folder: Path) -> Measure:
    if function is not None:
        return _Called(function)
    return Command(spec.run, folder) if spec.run is not None else Worker(str(spec.worker), folder)


class _Called:
    """A function of a state dict."""

    needs_file = False

    def __init__(self, function: Function) -> None:
        self._function = function

    def __call__(self, state: State | None, checkpoint: Path | None) -> Any:
        assert state is not None
        return called("metric", self._function, state)

    def stop(self) -> None:
        """A function is not interrupted."""


def _text(metric: str | Function) -> str:
    """A metric as a command line would say it."""
    return metric if isinstance(metric, str) else name_of(metric)
