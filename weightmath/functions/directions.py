"""Directions to look along: through three models, along a path of checkpoints, at random in units of the weights.

A list of directions is indexed: `plane(a, b, c)[0]`. Each is a delta; `base + 2 * direction` is a model. Coefficients
come from a Gram matrix of differences in float64, so that directions are orthonormal over all tensors that the recipe
computes (with `base + direction`, buffers such as BatchNorm statistics are not among them).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

from weightmath.algebra.graph import Vector, elementwise
from weightmath.algebra.signature import AnyVector, Count, Delta, Model, Role
from weightmath.errors import RecipeError
from weightmath.functions.by_name import matrices
from weightmath.functions.declare import function
from weightmath.functions.elementwise import where
from weightmath.functions.statistics import coefficients, gram, mean, norm, sum

OneDimensional: TypeAlias = Annotated[str, Role("text", choices=("zero", "scale"))]


@function
def plane(a: Model, b: Model, c: Model) -> list[Vector]:
    """Two orthonormal directions u, v that with `a` span the plane through three models.

    u = (b - a) / |b - a|, and v = (c - a) - <c - a, u> u, made of length 1. So `a` lies at (0, 0), `b` at (|b - a|, 0)
    and `c` at (<c - a, u>, <c - a, v>), which is above the u axis. Where `c` lies on the line through `a` and `b`
    (within a millionth of its distance), v is 0; where `b` is `a`, u is 0 and v points to `c`.
    Passes: one over the three models.
    Reference: Garipov et al., arXiv 1802.10026, and Izmailov et al., arXiv 1803.05407.
    Differs: the code of the first has the third model on the u axis, its second being the bend of a curve: `plane(a, c,
    b)` here.
    Recipe: `u: plane(base, chat, code)[0]`
    """
    steps = [b - a, c - a]
    return [_combined("gram_schmidt", steps, number) for number in range(2)]


@function
def principal(runs: Sequence[AnyVector], *, k: Count = 2) -> list[Vector]:
    """The first k principal directions of a trajectory of checkpoints: orthonormal, the widest spread first.

    The eigenvectors of the Gram matrix of runs - mean(runs), as the vectors that they stand for. The sign is chosen so
    that the last of the runs lies ahead of the first. A direction in which nothing varies (by less than a millionth of
    the whole spread) is 0.
    `k`: 1 to one less than there are runs.
    Passes: one over all runs.
    Reference: Li et al., arXiv 1712.09913, section 7, whose code subtracts the last run and leaves centring to the PCA.
    Recipe: `u: principal([base, chat, code], k=1)[0]`
    """
    if k >= len(runs):
        raise RecipeError(f"{len(runs)} runs have at most {len(runs) - 1} principal directions, not {k}")
    middle = mean(list(runs))
    steps = [run - middle for run in runs]
    return [_combined("principal", steps, number) for number in range(k)]


def _combined(solver: str, steps: list[Vector], number: int) -> Vector:
    """The sum of the steps by the coefficients of one direction."""
    share = coefficients(solver, gram(steps), direction=number)
    return sum([share[i] * step for i, step in enumerate(steps)])


@function
def filter_normalized(direction: Delta, like: Model, *, one_dimensional: OneDimensional = "zero") -> Vector:
    """A direction in which each filter is as long as that of a model, d_f |w_f| / |d_f|.

    So one step changes every filter by the same share, and rescaling weights does not change the picture. A filter is
    a slice along the first axis: of a convolution its kernels for one output, of a linear layer a row. A filter of
    zeros stays 0.
    `one_dimensional`: what becomes of biases, norms and numbers: `zero` leaves them out, as the paper does; `scale`
    takes each as one filter.
    Reference: Li et al., arXiv 1712.09913, section 4.
    Differs: the paper's code adds 1e-10 to |d_f|, and where it keeps one-dimensional tensors, puts the weights
    themselves in their place.
    Recipe: `u: filter_normalized(gaussian(seed=1), like=base)`
    """
    own = norm(direction, scope="row")
    scaled = elementwise("multiply", norm(like, scope="row") / where(own == 0, 1, own), direction)
    return scaled if one_dimensional == "scale" else matrices() * scaled
