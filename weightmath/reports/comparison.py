"""Several checkpoints side by side: the record of `compare`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from weightmath.lab import spectrum
from weightmath.lab.comparison import Comparison, Part
from weightmath.lab.geometry import Drift
from weightmath.scope import Scope

Matrix = tuple[tuple[float, ...], ...]
Cell = str | int | float | None


@dataclass(frozen=True)
class PartRow:
    """A tensor, or a layer: the tensors whose names are alike up to their first number.

    norms             of each model's part, or with a base of its change
    relative_changes  of each model, norm(model - reference) / norm(reference); None where the reference is 0
    steps             the distance from each model to the next
    lowest_cosine     the least cosine of two models' parts, or changes; None of fewer than two models
    opposed           the mean over pairs of models of the share of elements that have opposite signs, likewise
    """

    name: str
    tensors: int
    elements: int
    norms: tuple[float, ...]
    relative_changes: tuple[float | None, ...]
    steps: tuple[float, ...]
    lowest_cosine: float | None
    opposed: float | None


@dataclass(frozen=True)
class SpectrumRow:
    """What the singular values s1 >= s2 >= .. of one tensor say, of each model or change in turn.

    largest         s1, the spectral norm
    stable_rank     sum(s^2) / s1^2
    effective_rank  exp of the entropy of s / sum(s)
    rank_90         how many of the largest hold 90% of sum(s^2)
    values          all singular values, of each model
    A tensor of zeros has ranks of 0.
    """

    name: str
    largest: tuple[float, ...]
    stable_rank: tuple[float, ...]
    effective_rank: tuple[float, ...]
    rank_90: tuple[int, ...]
    values: Matrix


@dataclass(frozen=True)
class CompareReport:
    """N checkpoints compared; matrices are N x N, in the order of `models`.

    models            short names, `paths` where they lie
    base              the short name of the base, or None
    of                what norms, gram, cosine, opposed, overlap and spectrum are of: "models", or with a base "changes"
    reference         what relative changes are against: the base, or the first model
    tensors, elements that are compared
    left_out          names of tensors that not all have in one shape
    gram              inner products
    cosine            0 with a zero vector
    distance          between models
    opposed           share of elements in which two have opposite signs, neither being 0
    overlap           share of the `density` largest elements of one that are among the largest of the other; or None
    map               a point (x, y) for each model, by classical scaling of the distances
    map_base          the point of the base, or None
    map_share         the share of the squared distances from the centre that the map shows
    drift             of the models as a trajectory, in the order in which they were given
    layers            in the order of their names, as `by_tensor`, of single tensors, is
    spectrum          of the tensors of two or more dimensions; or None
    """

    models: tuple[str, ...]
    paths: tuple[str, ...]
    base: str | None
    of: str
    reference: str
    tensors: int
    elements: int
    left_out: tuple[str, ...]
    norms: tuple[float, ...]
    relative_changes: tuple[float | None, ...]
    gram: Matrix
    cosine: Matrix
    distance: Matrix
    opposed: Matrix
    overlap: Matrix | None
    density: float | None
    map: tuple[tuple[float, float], ...]
    map_base: tuple[float, float] | None
    map_share: float
    drift: Drift
    layers: tuple[PartRow, ...]
    by_tensor: tuple[PartRow, ...]
    spectrum: tuple[SpectrumRow, ...] | None


def compare_report(found: Comparison) -> CompareReport:
    """The record of a comparison."""
    whole, points = found.whole, [(float(x), float(y)) for x, y in found.map.points]
    return CompareReport(
        models=found.models,
        paths=tuple(str(path) for path in found.paths),
        base=found.base,
        of="models" if found.base is None else "changes",
        reference=found.models[0] if found.base is None else found.base,
        tensors=whole.tensors,
        elements=whole.elements,
        left_out=found.left_out,
        norms=_row(whole.norms),
        relative_changes=_finite(whole.relative_changes),
        gram=_matrix(whole.gram),
        cosine=_matrix(whole.cosine),
        distance=_matrix(whole.distance),
        opposed=_matrix(whole.opposed_share),
        overlap=None if found.overlap is None else _matrix(found.overlap),
        density=found.density,
        map=tuple(points if found.base is None else points[1:]),
        map_base=None if found.base is None else points[0],
        map_share=found.map.share,
        drift=whole.drift,
        layers=tuple(map(_part, found.layers)),
        by_tensor=tuple(map(_part, found.by_tensor)),
        spectrum=None if found.spectra is None else tuple(_spectrum(*pair) for pair in found.spectra.items()),
    )


def csv_rows(report: CompareReport) -> list[list[Cell]]:
    """The tensors as a table with a head: norm, relative change and step of each model; one row a tensor."""
    models = report.models
    head: list[Cell] = ["tensor", "layer", "elements", *(f"norm {name}" for name in models)]
    head += [f"relative change {name}" for name in models]
    head += [f"step {a} to {b}" for a, b in pairwise(models)]
    head += ["lowest cosine", "opposed"]
    return [head, *map(_csv_row, report.by_tensor)]


def _csv_row(one: PartRow) -> list[Cell]:
    numbers = (*one.norms, *one.relative_changes, *one.steps, one.lowest_cosine, one.opposed)
    return [one.name, Scope("layer").cell(one.name), one.elements, *numbers]


def _part(part: Part) -> PartRow:
    pairs = np.triu_indices(len(part.opposed), 1)
    cosines, opposed = part.cosine[pairs], part.opposed_share[pairs]
    return PartRow(
        part.name,
        part.tensors,
        part.elements,
        _row(part.norms),
        _finite(part.relative_changes),
        _row(part.drift.steps),
        float(cosines.min()) if len(cosines) else None,
        float(opposed.mean()) if len(opposed) else None,
    )


def _spectrum(name: str, values: np.ndarray) -> SpectrumRow:
    return SpectrumRow(
        name,
        _row(values[:, 0]),
        _row(map(spectrum.stable_rank, values)),
        _row(map(spectrum.effective_rank, values)),
        tuple(spectrum.rank_of_energy(each, 0.9) for each in values),
        _matrix(values),
    )


def _row(numbers: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(number) for number in numbers)


def _finite(numbers: np.ndarray) -> tuple[float | None, ...]:
    return tuple(None if math.isinf(number) else number for number in _row(numbers))


def _matrix(rows: np.ndarray) -> Matrix:
    return tuple(map(_row, rows))
