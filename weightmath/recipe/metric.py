"""What `metric:` says: how good a point is, by an evaluation of the user's own.

metric: python eval.py {checkpoint}                          its last line is a number, or JSON of numbers
metric: {run: "python eval.py {checkpoint}", of: accuracy}   which of several numbers counts
metric: {worker: python serve.py, of: loss, goal: min}       started once; reads a path, answers JSON, line by line
metric: "evaluation:accuracy"                                a function of a state dict, with --allow-code
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, StrictStr, ValidationError, model_validator

from weightmath.errors import RecipeError
from weightmath.recipe.keys import Keys, PathText, fault, one_or_more

PLACE = "{checkpoint}"
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
Goal = Literal["max", "min"]


def is_function(run: str) -> bool:
    """Whether what is run is `module:function`, not a command."""
    return _FUNCTION.fullmatch(run) is not None


class MetricSpec(Keys):
    """An evaluation; see the module.

    run      a command in which {checkpoint} is the path; or module:function
    worker   a command that is started once
    of       which of its numbers count, the first above all; without it the only one
    goal     whether more or less of them is better, for all or by name
    """

    run: PathText | None = None
    worker: PathText | None = None
    of: Annotated[tuple[StrictStr, ...], BeforeValidator(one_or_more)] = ()
    goal: Goal | dict[StrictStr, Goal] = "max"

    @property
    def goals(self) -> dict[str, Goal]:
        """The goal of each number that counts; none where `of` is not given."""
        goal = self.goal
        return {name: goal[name] if isinstance(goal, dict) else goal for name in self.of or self._named}

    @property
    def _named(self) -> tuple[str, ...]:
        return tuple(self.goal) if isinstance(self.goal, dict) else ()

    @model_validator(mode="after")
    def _keys_fit_together(self) -> MetricSpec:
        if (self.run is None) == (self.worker is None):
            raise fault("a metric has either `run` or `worker`", f"run: python eval.py {PLACE}")
        if self.run is not None and PLACE not in self.run and not is_function(self.run):
            raise fault(f"the command does not say where the checkpoint goes: {self.run}", f"python eval.py {PLACE}")
        if self.worker is not None and PLACE in self.worker:
            raise fault("a worker reads paths from its input, one a line", "leave {checkpoint} out", at=("worker",))
        if isinstance(self.goal, dict) and self.of and set(self.goal) != set(self.of):
            raise fault("`goal` and `of` name other numbers", "leave `of` out", at=("goal",))
        return self


def metric_spec(data: Mapping[str, object]) -> MetricSpec:
    """The metric that these keys mean. RecipeError where they do not fit together."""
    try:
        return MetricSpec.model_validate(data)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        context = fault.get("ctx", {})
        raise RecipeError(context.get("fact", fault["msg"]), where="metric", hint=context.get("hint")) from None
