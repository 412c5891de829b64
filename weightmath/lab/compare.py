"""Several checkpoints compared in one reading of each: the engine sums up distances and signs, tensor by tensor."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from weightmath import functions as f
from weightmath.algebra.graph import Vector
from weightmath.checkpoint.ending import bare
from weightmath.engine.cost import bytes_read
from weightmath.engine.execute import execute
from weightmath.engine.memory import settings_for
from weightmath.engine.meter import Meter, Told, silent
from weightmath.engine.plan import Request, Watched, make_plan
from weightmath.errors import KindError, LayoutError, RecipeError
from weightmath.files.inputs import Opened, open_input, reading, sources_of, vector_of
from weightmath.functions.statistics import reduction
from weightmath.kernels.select import keep_count
from weightmath.lab.comparison import Comparison, Part
from weightmath.lab.spectrum import spectra
from weightmath.layout import Layout
from weightmath.paths import expanded
from weightmath.several import several


def compare(
    checkpoints: str | Path | Sequence[str | Path],
    base: str | Path | None = None,
    *,
    density: float | None = None,
    spectrum: bool = False,
    section: str | None = None,
    threads: int | None = None,
    progress: Told = silent,
) -> Comparison:
    """Compare checkpoints, reading each once: norms, inner products, cosines, distances, signs, drift, a map.

    With a base the numbers are of the changes, model - base. Compared are the floating-point tensors that all have in
    one shape. The reference of relative changes is the base, or else the first checkpoint. Squared distances are sums
    in float64 of float64 differences, so that those of close fine-tunes are exact too. Inner products and cosines
    follow from them: the cosine of vectors one of which is r times as long as the other is good to about r 1e-14.

    Parameters
        density   also the overlap of the largest elements of each two, this share of all of them, in (0, 1]: exact,
                  which takes further passes
        spectrum  also the singular values of every matrix, a tensor of k axes counting as one of [first, all others];
                  read again, one tensor at a time
        section   the section of all; None: each one's own is found
        threads   worker threads; None: as many as there are processors, at most 8
        progress  told bytes done and bytes in all, from any thread
    Fails with CheckpointError for what is no checkpoint, lacks the section or changes meanwhile; LayoutError where no
    tensor is common to all; KindError for a delta file with a base; RecipeError for no checkpoints, or a density out of
    its range.
    """
    paths = [expanded(path) for path in several(checkpoints)]
    _check(paths, density)
    models, origin = _opened(paths, None if base is None else expanded(base), section)
    opened = [*origin, *models]
    layout, left_out = _common(opened)
    points = [vector_of(one, layout.names) for one in opened]
    vectors = [model - points[0] for model in points[1:]] if origin else points
    # Tensors are read as they lie in the first file.
    order = tuple(layout.index[name] for name in opened[0].tensors if name in layout)
    plan = make_plan(Request(layout, (), _questions(points, vectors, density), order))
    with reading([one.checkpoint for one in opened]) as readers:
        sources = sources_of(points, readers)
        settings = settings_for(plan, threads, None)
        results = execute(plan, sources, {}, settings, Meter(bytes_read(plan), progress))
        found = spectra(layout, list(sources.values()), has_base=bool(origin)) if spectrum else None
    squared, opposed, *common = (value for _, value in results.watched)
    return Comparison(
        models=tuple(model.name for model in models),
        paths=tuple(paths),
        base=origin[0].name if origin else None,
        by_tensor=tuple(Part(e.name, 1, e.size, squared[e.name], opposed[e.name]) for e in layout),
        left_out=left_out,
        density=density,
        overlap=_overlap(common, len(models), keep_count(density, layout.size)) if density else None,
        spectra=found,
    )


def _check(paths: Sequence[Path], density: float | None) -> None:
    if not paths:
        raise RecipeError("nothing to compare", hint="name one checkpoint or more")
    if density is not None and not 0 < density <= 1:
        raise RecipeError(f"the density must be in (0, 1], and is {density:g}")


def _opened(paths: Sequence[Path], base: Path | None, section: str | None) -> tuple[list[Opened], list[Opened]]:
    """The models, and the base if there is one; KindError for delta files with a base."""
    names = short_names([*paths, *([] if base is None else [base])])
    models = [open_input(name, path, section=section) for name, path in zip(names, paths, strict=False)]
    origin = [] if base is None else [open_input(names[-1], base, section=section)]
    for one in (*models, *origin) if origin else ():
        if one.is_delta_input:
            fact = "a delta file is a change already, and with a base the changes of models are compared"
            raise KindError(fact, where=str(one.checkpoint.path), hint="compare delta files without a base")
    return models, origin


def short_names(paths: Sequence[Path]) -> list[str]:
    """A name for each of several files: without folders and ending, as far as that tells them apart."""
    for shorten in (bare, lambda path: path.name, lambda path: f"{path.parent.name}/{bare(path)}"):
        names = [shorten(path) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{path} ({number})" for number, path in enumerate(paths, 1)]


def _common(opened: Sequence[Opened]) -> tuple[Layout, tuple[str, ...]]:
    """The floating-point tensors that all have in one shape, and the names of the others."""
    names = sorted({name for one in opened for name in one.layout.names})
    entries, left_out = [], []
    for name in names:
        found = [one.layout[name] for one in opened if name in one.layout]
        if len(found) == len(opened) and len({entry.shape for entry in found}) == 1:
            entries.append(found[0])
        else:
            left_out.append(name)
    if not entries:
        where = str(opened[-1].checkpoint.path)
        raise LayoutError("no floating-point tensor is in all checkpoints, in one shape", where=where)
    return Layout.of(entries), tuple(left_out)


def _questions(points: Sequence[Vector], vectors: Sequence[Vector], density: float | None) -> tuple[Watched, ...]:
    """Squared distances, opposite signs, and for a density how many of the largest elements each two have in common."""
    questions = [
        reduction("squared_distances", *points, scope="tensor"),
        reduction("opposed", *vectors, scope="tensor"),
    ]
    if density is not None:
        masks = [f.largest_mask(vector, density) for vector in vectors]
        questions += [f.count(one & other) for one, other in combinations(masks, 2)]
    return tuple(Watched(str(one), one) for one in questions)


def _overlap(common: Sequence[float], models: int, kept: int) -> np.ndarray:
    found = np.eye(models)
    for (i, j), count in zip(combinations(range(models), 2), common, strict=True):
        found[i, j] = found[j, i] = count / kept
    return found
