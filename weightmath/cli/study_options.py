"""What `weightmath sweep` and `weightmath search` both take: a recipe with `vary`, its metric, and how to measure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weightmath.cli import options

if TYPE_CHECKING:
    from weightmath.lab.metric import Metric
    from weightmath.lab.points import Work
    from weightmath.recipe import Recipe


@dataclass(frozen=True)
class Asked:
    """The options of a study."""

    recipe: options.VariedRecipe
    metric: options.Metric = None
    of: options.Of = None
    goal: options.Goal = None
    allow_code: options.AllowCode = False
    jobs: options.Jobs = 1
    keep: options.Keep = None
    resume: options.Resume = False
    stem: options.Stem = None
    sets: options.Set = None
    inputs: options.Input = None
    threads: options.Threads = None
    memory: options.Memory = None
    json: options.Json = False

    @property
    def table(self) -> Path:
        """Where the results go: the stem of their files."""
        return Path(self.stem) if self.stem else self.recipe.with_suffix("")

    def opened(self) -> tuple[Recipe, Metric | None, Work]:
        """The recipe, what measures its points, and what the work may take. Fails as these do."""
        from weightmath.lab.points import Work
        from weightmath.lab.sweep import metric_of, recipe_of
        from weightmath.sizes import parse_size

        work = Work(self.jobs, self.threads, parse_size(self.memory))
        source = recipe_of(self.recipe, self.sets or (), self.inputs or ())
        measure = metric_of(source, self.metric, of=self.of or (), goal=self.goal, allow_code=self.allow_code)
        return source, measure, work
