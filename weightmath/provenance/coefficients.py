"""Coefficients of a weighted sum, per merged tensor: a number where they agree, else runs of equal numbers.

A run-length form keeps the record of a block-weighted merge short: the tensors of a block are neighbours by name.
None: the output is no weighted sum with numbers known beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Annotated

from pydantic import Field

Runs = tuple[tuple[float, Annotated[int, Field(gt=0)]], ...]
Coefficient = float | Annotated[Runs, Field(min_length=1)] | None


def of_numbers(numbers: Iterable[float]) -> Coefficient:
    """The short form of one number per tensor, in the order of names; 0 where there are none."""
    return _shortened((float(number), len(list(run))) for number, run in groupby(numbers))


def product(a: Coefficient, b: Coefficient) -> Coefficient:
    """Of an input's input: what the one is multiplied by, times what the other is."""
    return _combined(a, b, lambda x, y: x * y)


def total(a: Coefficient, b: Coefficient) -> Coefficient:
    """Of an input that a sum has twice."""
    return _combined(a, b, lambda x, y: x + y)


def span(coefficient: float | Runs) -> tuple[float, float]:
    """The least and the largest number."""
    numbers = [coefficient] if isinstance(coefficient, float) else [number for number, _ in coefficient]
    return min(numbers), max(numbers)


def _combined(a: Coefficient, b: Coefficient, operation: Callable[[float, float], float]) -> Coefficient:
    """Tensor by tensor; None where either is unknown, or where two merges have different numbers of tensors."""
    if a is None or b is None:
        return None
    if isinstance(a, float) and isinstance(b, float):
        return operation(a, b)
    count = max(_tensors(a), _tensors(b))
    first, second = _as_runs(a, count), _as_runs(b, count)
    if _tensors(first) != _tensors(second):
        return None
    return _shortened((operation(x, y), n) for x, y, n in _side_by_side(first, second))


def _tensors(coefficient: float | Runs) -> int:
    """Of how many tensors it tells; 0 for a number that is that of all."""
    return 0 if isinstance(coefficient, float) else sum(count for _, count in coefficient)


def _as_runs(coefficient: float | Runs, count: int) -> Runs:
    return ((coefficient, count),) if isinstance(coefficient, float) else coefficient


def _side_by_side(a: Sequence[tuple[float, int]], b: Sequence[tuple[float, int]]) -> Iterator[tuple[float, float, int]]:
    """Both at once, cut where either changes. They are equally long."""
    rest_a, rest_b = list(reversed(a)), list(reversed(b))
    while rest_a and rest_b:
        (x, m), (y, n) = rest_a.pop(), rest_b.pop()
        common = min(m, n)
        yield x, y, common
        if m > common:
            rest_a.append((x, m - common))
        if n > common:
            rest_b.append((y, n - common))


def _shortened(runs: Iterable[tuple[float, int]]) -> float | Runs:
    grouped = groupby(runs, key=lambda run: run[0])
    short = tuple((number, sum(count for _, count in same)) for number, same in grouped)
    if len(short) > 1:
        return short
    return short[0][0] if short else 0.0
