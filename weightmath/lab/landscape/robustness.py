"""How a metric falls as noise grows: its mean over seeds at each scale, and how sure that mean is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from weightmath.installed import check_installed
from weightmath.lab.table import Table

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Level:
    """A metric at one scale of noise.

    seeds      how many draws of noise
    mean       over them
    low, high  Student's t interval of that mean, confidence 95%: mean -/+ t(0.975, seeds - 1) s / sqrt(seeds) with s
               the sample standard deviation; None for one seed
    """

    metric: str
    scale: float
    seeds: int
    mean: float
    low: float | None
    high: float | None


def robustness(table: Table) -> tuple[Level, ...]:
    """The robustness curve of each metric of a `noise` table, by metric and then by scale."""
    scales = [float(row.params["scale"]) for row in table.rows]
    return tuple(
        _level(metric, scale, [value for value, at in zip(table.column(metric), scales, strict=True) if at == scale])
        for metric in table.head.metrics
        for scale in sorted(set(scales))
    )


def check_interval() -> None:
    """WeightmathError where what the interval needs is not installed, before anything is measured."""
    check_installed("a robustness curve", "scipy")


def _level(metric: str, scale: float, values: Sequence[float]) -> Level:
    seeds, mean = len(values), sum(values) / len(values)
    if seeds == 1:
        return Level(metric, scale, seeds, mean, None, None)
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (seeds - 1))
    half = float(stdtrit(seeds - 1, (1 + CONFIDENCE) / 2)) * deviation / math.sqrt(seeds)
    return Level(metric, scale, seeds, mean, mean - half, mean + half)
