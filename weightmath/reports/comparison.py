"""Several checkpoints side by side: the record of `compare`."""

from __future__ import annotations

from dataclasses import dataclass

Matrix = tuple[tuple[float, ...], ...]


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
class DriftRecord:
    """The models as a trajectory, in the order in which they were given.

    steps        from each to the next
    travelled    the length of the way up to each
    from_start   the distance of each from the first
    turns        the cosine between each step and the next
    """

    steps: tuple[float, ...]
    travelled: tuple[float, ...]
    from_start: tuple[float, ...]
    turns: tuple[float, ...]


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
    rows: int
    columns: int
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
    of                "models" or, with a base, "changes": what norms, gram, cosine, opposed, overlap and spectrum are of
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
    drift: DriftRecord
    layers: tuple[PartRow, ...]
    by_tensor: tuple[PartRow, ...]
    spectrum: tuple[SpectrumRow, ...] | None
