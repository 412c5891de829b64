"""What `compare` finds, as plain arrays: of all tensors together, by layer and by tensor.

What is kept are squared distances, of the models and of the origin, since the distance of two fine-tunes would be lost
in the rounding of products of whole models. All else is arithmetic on small matrices (`lab.geometry`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from weightmath.files.choice import natural
from weightmath.lab.geometry import Drift, Map, cosines, drift, gram, planar_map
from weightmath.scope import Scope


@dataclass(frozen=True, eq=False)
class Part:
    """What is known of some tensors of all models: one tensor, a layer, or all of them.

    Every method gives float64 arrays in the order of the models. With a base, norms, inner products, cosines and
    opposite signs are those of the models' changes, model - base; distances are the same either way.

    elements   how many each model has in them
    squared    squared distances of the points from each other: the origin, the base if there is one, the models
    opposed    number of elements in which two models, or changes, have opposite signs, (n, n)
    """

    name: str
    tensors: int
    elements: int
    squared: np.ndarray
    opposed: np.ndarray

    @property
    def _first(self) -> int:
        """The first model among the points."""
        return len(self.squared) - len(self.opposed)

    @property
    def gram(self) -> np.ndarray:
        """Inner products of the models, or changes, (n, n)."""
        first = self._first
        return gram(self.squared, about=first - 1)[first:, first:]

    @property
    def norms(self) -> np.ndarray:
        """The norm of each model, or change, (n,)."""
        first = self._first
        return np.asarray(np.sqrt(self.squared[first - 1, first:]))

    @property
    def cosine(self) -> np.ndarray:
        """The cosine of each two models, or changes, (n, n); 0 with a zero vector."""
        return cosines(self.gram)

    @property
    def relative_changes(self) -> np.ndarray:
        """norm(model - reference) / norm(reference), (n,); of a reference of 0 it is 0 or infinite."""
        reference = np.sqrt(self.squared[0, 1])
        changes = np.sqrt(self.squared[1, self._first :])
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.divide(changes, reference, out=np.zeros_like(changes), where=changes != 0)
        return np.asarray(found)

    @property
    def distance_with_base(self) -> np.ndarray:
        """Distances of the base, if there is one, and the models from each other, (n, n) or (n + 1, n + 1)."""
        return np.asarray(np.sqrt(self.squared[1:, 1:]))

    @property
    def distance(self) -> np.ndarray:
        """The distance of each two models, (n, n)."""
        first = self._first
        return np.asarray(np.sqrt(self.squared[first:, first:]))

    @property
    def drift(self) -> Drift:
        """The models as a trajectory, in the order in which they were given."""
        return drift(self.distance)

    @property
    def opposed_share(self) -> np.ndarray:
        """The share of elements in which each two models, or changes, have opposite signs, (n, n)."""
        return self.opposed / max(self.elements, 1)


@dataclass(frozen=True, eq=False)
class Comparison:
    """N checkpoints compared. `whole`, `layers` and `by_tensor` hold the numbers; n is the number of models.

    models     a short name for each, `paths` where they lie
    base       the short name of the base, or None
    by_tensor  each tensor that all have in one shape, in the order of names
    left_out   names of floating-point tensors that not all have in one shape
    density    of `overlap`, or None
    overlap    share of the `density` largest elements of one that are among the largest of the other, (n, n), or None:
               of the models, or with a base of the changes. By chance it is the density itself
    spectra    by tensor of two or more dimensions: singular values of each model, or change, (n, k); or None
    """

    models: tuple[str, ...]
    paths: tuple[Path, ...]
    base: str | None
    by_tensor: tuple[Part, ...]
    left_out: tuple[str, ...]
    density: float | None
    overlap: np.ndarray | None
    spectra: dict[str, np.ndarray] | None

    @cached_property
    def whole(self) -> Part:
        """All tensors together."""
        return _together("", self.by_tensor)

    @cached_property
    def layers(self) -> tuple[Part, ...]:
        """Tensors whose names are alike up to their first number, together; `blocks.9` comes before `blocks.10`."""
        cells: dict[str, list[Part]] = {}
        for part in self.by_tensor:
            cells.setdefault(Scope("layer").cell(part.name), []).append(part)
        return tuple(_together(name, cells[name]) for name in sorted(cells, key=natural))

    @cached_property
    def map(self) -> Map:
        """The models in a plane, by classical scaling of their distances; with a base, it is the first point."""
        return planar_map(self.whole.distance_with_base)


def _together(name: str, parts: Sequence[Part]) -> Part:
    squared = np.add.reduce([part.squared for part in parts])
    opposed = np.add.reduce([part.opposed for part in parts])
    return Part(name, len(parts), sum(part.elements for part in parts), squared, opposed)
