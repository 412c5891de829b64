"""What is measured: a table of recipes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from tests.bench.workload import Kind


@dataclass(frozen=True)
class Target:
    """How fast a case is meant to be, start-up aside."""

    times: float
    of: Literal["floor", "average"] = "floor"

    def __str__(self) -> str:
        return f"{self.times:g} {self.of}s"


@dataclass(frozen=True)
class Case:
    """A recipe over m0, m1, ..., and what the floor does in its place: read each model once, write each output once.

    recipe   what follows `inputs:`; or the words of another command than `run`, with {m0} for a model and {folder} for
             where they lie; the word after -o is its output
    models   how many it takes
    writes   outputs as large as a model
    before   words of a command that runs once, unmeasured
    cold     whether the models are dropped from the page cache before each run
    threads  of weightmath; the floor has one
    main     whether it is measured when no case is named
    packs    what a compressor does in it, on {folder}/made.delta: its own time is taken out like the start-up
    target   how many floors it may take, or how many averages of three
    """

    name: str
    recipe: str | tuple[str, ...]
    models: int
    kind: Kind = field(default_factory=Kind)
    writes: int = 1
    before: tuple[str, ...] = ()
    cold: bool = False
    threads: int = 2
    main: bool = False
    packs: Literal["compress", "decompress"] | None = None
    target: Target | None = None


def _saves(*values: str) -> str:
    return "save:\n" + "".join(f"  out{i}.ckpt: {value}\n" for i, value in enumerate(values))


AVERAGE_OF_3 = "average of 3"
AVERAGE = _saves("weighted_average([m0, m1, m2], weights=[0.5, 0.3, 0.2])")

_TEN = "m0 + 0.5 * (m1 - m0) * abs(m2 - m0) / (1 + abs(m1 - m2))"
_TERMS = " + ".join(f"0.0{i} * clamp(m{1 + i % 2} - m0, -0.0{i}, 0.0{i})" for i in range(10, 30))

_STATISTICS = """
show:
  - cosine(m0, m1)
  - norm(m1 - m0)
"""

_MAKE = ("delta", "make", "{m0}", "{m1}", "-o")
_MADE = (*_MAKE, "{folder}/made.delta")
_APPLY = ("delta", "apply", "{m0}", "{folder}/made.delta", "-o", "{folder}/out.ckpt")
_TIES = _saves("ties(m0, [m1, m2, m3], densities=0.2)")
_DARE = _saves("dare(m0, [m1, m2, m3], densities=0.2, seed=1)")
_SCALED = _saves("model(0.99 * m0)")

CASES: tuple[Case, ...] = (
    Case(AVERAGE_OF_3, AVERAGE, 3, main=True, target=Target(1.3)),
    Case("average of 2", _saves("weighted_average([m0, m1], weights=[0.7, 0.3])"), 2),
    Case("average of 8", _saves("weighted_average([m0, m1, m2, m3, m4, m5, m6, m7])"), 8),
    Case("task arithmetic", _saves("task_arithmetic(m0, [m1, m2, m3], scale=0.4)"), 4),
    Case("ties global", _TIES, 4, main=True, target=Target(5, "average")),
    Case("ties tensor", _saves('ties(m0, [m1, m2, m3], densities=0.2, scope="tensor")'), 4, main=True),
    Case("dare", _DARE, 4, target=Target(3, "average")),
    Case("slerp", _saves("slerp(m0, m1, t=0.3)"), 2),
    Case("model stock", _saves("model_stock(m0, [m1, m2])"), 3),
    Case("10 operations", _saves(_TEN), 3, target=Target(2)),
    Case("20 terms", _saves(f"m0 + {_TERMS}"), 3),
    Case("low rank", _saves("low_rank(m0, m1, rank=8)"), 2, Kind(size=0.125)),
    Case("11 outputs", _saves(*(f"lerp(m0, m1, {i / 10})" for i in range(11))), 2, writes=11, target=Target(1.3)),
    Case("statistics", _STATISTICS, 2, writes=0, target=Target(1.25)),
    Case("compare 5", ("compare", *(f"{{m{i}}}" for i in range(5))), 5, writes=0, target=Target(4)),
    # The floor of deltas reads both models and writes one, as if a delta were as large as a model.
    Case("make delta", (*_MAKE, "{folder}/out.delta"), 2, before=_MADE, packs="compress", target=Target(3)),
    Case("apply delta", _APPLY, 2, before=_MADE, packs="decompress", target=Target(3)),
    Case("float32", AVERAGE, 3, Kind("float32")),
    Case("bfloat16", AVERAGE, 3, Kind("bfloat16")),
    Case("safetensors", AVERAGE, 3, Kind(form="safetensors")),
    Case("4 shards", AVERAGE, 3, Kind(form="sharded")),
    Case("cold cache", AVERAGE, 3, cold=True),
    Case("100,000 tensors", AVERAGE, 3, Kind(shape="small")),
    Case("size 1/8", _SCALED, 1, Kind(size=0.125), main=True),
    Case("size 1/2", _SCALED, 1, Kind(size=0.5)),
    Case("size 2", _SCALED, 1, Kind(size=2)),
    Case("size 8", _SCALED, 1, Kind(size=8), main=True),
    Case(f"{AVERAGE_OF_3}, 1 thread", AVERAGE, 3, threads=1),
    Case("ties global, 1 thread", _TIES, 4, threads=1),
    Case("dare, 1 thread", _DARE, 4, threads=1),
)

# Between these two, all that is fixed falls out: what is left is what a further byte costs.
SMALLEST, LARGEST = "size 1/8", "size 8"


def chosen(patterns: Sequence[str]) -> list[Case]:
    """The cases that match one of the patterns (globs; "all"); the main ones where there are none.

    In an order in which those of one kind of model stand together. Raises KeyError for a pattern that matches nothing.
    """
    if not patterns:
        picked = [case for case in CASES if case.main]
    else:
        for pattern in patterns:
            if not any(_matches(case, pattern) for case in CASES):
                raise KeyError(pattern)
        picked = [case for case in CASES if any(_matches(case, pattern) for pattern in patterns)]
    kinds = list(dict.fromkeys(case.kind for case in picked))
    return sorted(picked, key=lambda case: kinds.index(case.kind))


def _matches(case: Case, pattern: str) -> bool:
    return pattern == "all" or fnmatchcase(case.name, pattern)
