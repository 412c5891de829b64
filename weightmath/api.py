"""The same lazy vectors from Python: open, save, evaluate. Both ends go the way of a recipe from the graph on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from weightmath.algebra.graph import Vector, topological
from weightmath.checkpoint.hub import absolute
from weightmath.encoding import is_encoded
from weightmath.errors import LayoutError, RecipeError
from weightmath.files.inputs import Opened, Origin, as_vector, compared, open_input
from weightmath.files.mismatch import Terms
from weightmath.files.naming import Naming
from weightmath.files.opening import Inputs
from weightmath.files.subject import EVERYTHING, Subject, subject_of
from weightmath.job import Job, job_of
from weightmath.paths import expanded
from weightmath.recipe import Built, Recipe
from weightmath.recipe.document import Document
from weightmath.recipe.keys import as_identifier
from weightmath.recipe.recipe import of_document
from weightmath.running import Report, run
from weightmath.several import several
from weightmath.sizes import parse_size


def open(
    path: str | Path,
    *,
    name: str | None = None,
    section: str | None = None,
    strip: str | Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    names: Literal["litema"] | None = None,
    kind: Literal["model", "delta", "mask", "other"] | None = None,
    part: bool = False,
    missing: Vector | None = None,
    extra: Literal["error", "ignore"] = "error",
    fingerprint: str | None = None,
    sha256: str | None = None,
) -> Vector:
    """A checkpoint as a lazy vector. Only its headers are read.

    Parameters
        name      what messages call it; None: the name of the file, without its ending, or of the folder
        section   which mapping inside the checkpoint; None: the one that holds the weights
        strip     prefixes that names lose, `rename` prefixes (or `re:...`) that they change
        names     "litema": names lost their dots, as in Stable Diffusion's `model_ema.`, and get them back
        kind      model, delta, mask or other; None: delta for a delta file, else model
        part      whether it is meant to have only some tensors
        missing   the model from which it takes the tensors that it lacks, which is then the template of what is saved
        extra     what becomes of tensors that only this checkpoint has: "error", or "ignore" them
        fingerprint, sha256   of the vector and of the file: what is computed is refused if they are others
    Fails with CheckpointError for a file that is no checkpoint or holds no tensors, RecipeError for what a recipe would
    not take, LayoutError where tensors do not fit those of `missing`.
    """
    place = expanded(path)
    own = name or as_identifier(place.stem if place.is_file() else place.name)
    options = _given(
        {
            "path": absolute(path),
            "section": section,
            "strip": [*several(strip)] or None,
            "rename": dict(rename or {}) or None,
            "names": names,
            "kind": kind,
            "part": part or None,
            "missing": None if missing is None else "template",
            "extra": None if extra == "error" else extra,
            "fingerprint": fingerprint,
            "sha256": sha256,
        }
    )
    spec = _checked("wm.open", own, {own: {**options, "path": str(path)}}, {"show": own}).spec.inputs[own]
    opened = open_input(own, path, section=section, naming=Naming(spec.names, spec.strip, spec.rename))
    if missing is not None:
        _check_vector("missing", missing)
    template = opened if missing is None else _opened(missing)
    subject = subject_of(template.layout, [template.layout, opened.layout], EVERYTHING, ())
    found = kind or ("delta" if opened.is_delta_input else "model")
    terms = Terms(found, spec.missing or "error", extra, part or opened.is_delta_input)
    try:
        return as_vector(opened, template, subject, terms, options)
    except LayoutError as error:
        raise _with_way_out(error) from None


def save(
    value: Vector,
    path: str | Path,
    *,
    template: Vector | None = None,
    dtype: str | None = None,
    device: Literal["cpu", "keep"] = "cpu",
    drop: str | Sequence[str] = (),
    keep: Literal["all", "weights"] = "all",
    shard: str | int | None = None,
    as_: str | Mapping[str, Any] | None = None,
    nonfinite: Literal["error", "allow"] = "error",
    provenance: Literal["full", "none"] = "full",
    compute: Literal["float32", "float64"] | None = None,
    force: bool = False,
    threads: int | None = None,
    memory: int | str | None = None,
) -> Report:
    """Compute a vector and write it as one new checkpoint; the parameters are those of a recipe's `save`.

    The container is told by the name: `.ckpt .pt .pth .bin`, `.safetensors`, `merged/` for a folder of safetensors with
    at most `shard` in a file ("5GB"), or `.delta`, which stores a difference from its template as `as_` says ("sparse",
    {"kind": "low-rank", "rank": 8}).

    `template` is the opened checkpoint whose everything-else the output keeps; None: the first model that the value is
    made of. `provenance="none"` leaves out how the output was made. `memory` is what the work may take, in bytes or as
    "2GB". Fails as a recipe does: KindError, LayoutError, OutputError, NumericError; no file appears then.
    """
    _check_vector("value", value)
    if template is not None:
        _check_vector("template", template)
    vectors = _inputs_of([value] if template is None else [value, template])
    first = template if template is not None else _first_model(vectors)
    target = os.path.abspath(expanded(path)) + "/" * str(path).endswith("/")
    if is_encoded(target) and template is None and len(vectors) > 1:
        fact = "a delta file belongs to its template, and the value is made of several checkpoints"
        raise RecipeError(fact, where=target, hint="name the one that it will be added to: template=base")
    wishes = {
        "template": _opened(first).name,
        "dtype": dtype,
        "device": None if device == "cpu" else device,
        "drop": several(drop) or None,
        "keep": None if keep == "all" else keep,
        "shard": shard,
        "as": as_,
    }
    output = {"value": _all_of(vectors), **_given(wishes)}
    settings = {"nonfinite": nonfinite, "compute": compute, "provenance": provenance}
    recipe = _recipe("wm.save", vectors, str(value), {"save": {target: output}, **_given(settings)})
    wished = recipe.spec.save[target].model_copy(update={"value": str(value)})
    told = replace(recipe, spec=recipe.spec.model_copy(update={"save": {target: wished}}))
    job = _job(recipe, vectors, first, Built({}, (), (), {target: value}, {}, {target: told}))
    return run(job, threads=threads, memory=parse_size(memory), force=force)


def evaluate(
    value: Vector | Sequence[Vector],
    *,
    compute: Literal["float32", "float64"] | None = None,
    threads: int | None = None,
    memory: int | str | None = None,
) -> Any:
    """The numbers of a statistic, or of each in a list: what a recipe's `show` says of it. Writes nothing.

    Returns a number for a statistic of scope `global`; for one of a narrower scope a dict from the names of cells, or
    of tensors, to numbers, or to arrays with a number for each row. Statistics of one list share their passes.

        wm.evaluate(wm.functions.norm(chat - base))
        wm.evaluate([wm.functions.cosine(a, b, scope="layer") for a, b in pairs])

    Fails with RecipeError for what has a value for every element, which `save` takes, and else as `save` does.
    """
    wanted = list(value) if isinstance(value, Sequence) else [value]
    for one in wanted:
        _check_vector("value", one)
    vectors = _inputs_of(wanted)
    shown = tuple((str(one), one) for one in wanted)
    asked = {"show": _all_of(vectors), **_given({"compute": compute})}
    recipe = _recipe("wm.evaluate", vectors, "\n".join(text for text, _ in shown), asked)
    deltas = [vector for vector in vectors.values() if _opened(vector).is_delta_input]
    first = deltas[0] if len(deltas) == len(vectors) else _first_model(vectors)
    job = _job(recipe, vectors, first, Built({}, shown, (), {}, {}))
    found = [number for _, number in run(job, threads=threads, memory=parse_size(memory)).answers.shown]
    return found[0] if isinstance(value, Vector) else found


def _job(recipe: Recipe, vectors: Mapping[str, Vector], template: Vector, built: Built) -> Job:
    models = {name: _opened(vector) for name, vector in vectors.items()}
    subject = subject_of(_opened(template).layout, [opened.layout for opened in models.values()], EVERYTHING, ())
    for vector in vectors.values():
        _check_layout(vector, _opened(template), subject)
    return job_of(Inputs(recipe, models, {}), subject, vectors, built)


def _given(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: word for key, word in settings.items() if word is not None}


def _all_of(vectors: Mapping[str, Vector]) -> str:
    """An expression that says which inputs are used: the graph itself is given."""
    return " + ".join(vectors)


def _check_vector(argument: str, given: object) -> None:
    if not isinstance(given, Vector):
        fact = f"`{argument}` must be a vector, not {given!r:.100}"
        raise RecipeError(fact, hint="wm.open(path) is one, and so is what is computed of some")


def _inputs_of(values: Sequence[Vector]) -> dict[str, Vector]:
    """The opened checkpoints below vectors, by name."""
    found: dict[str, Vector] = {}
    for node in topological(values):
        if node.source is None:
            continue
        name = node.source.name
        if name in found and found[name] is not node:
            raise RecipeError(f"two checkpoints are called `{name}`", hint='name one: wm.open(path, name="...")')
        found[name] = node
    if not found:
        raise RecipeError("the value is made of no checkpoint", hint="wm.open(path) is one")
    return found


def _first_model(vectors: Mapping[str, Vector]) -> Vector:
    sources = [vector for vector in vectors.values() if vector.source is not None and not vector.source.part]
    models = [vector for vector in sources if vector.source is not None and vector.source.kind == "model"]
    if not sources:
        raise RecipeError("no checkpoint is a whole model that could be the template", hint="name one: template=base")
    return (models or sources)[0]


def _opened(vector: Vector) -> Opened:
    if vector.source is None:
        raise RecipeError(f"the template must be an opened checkpoint, not `{vector}`")
    origin: Origin = vector.source.origin
    return origin.own


def _recipe(call: str, vectors: Mapping[str, Vector], text: str, wanted: Mapping[str, Any]) -> Recipe:
    """The recipe that a call stands for."""
    return _checked(call, text, {name: _input(vector) for name, vector in vectors.items()}, wanted)


def _checked(call: str, text: str, inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> Recipe:
    return of_document(text, Document(call, {"inputs": inputs, **wanted}, {}))


def _input(vector: Vector) -> dict[str, Any]:
    """A recipe's input that opens the same."""
    assert vector.source is not None
    origin: Origin = vector.source.origin
    return {**origin.options}


def _check_layout(vector: Vector, template: Opened, subject: Subject) -> None:
    """LayoutError where an opened checkpoint does not have the template's layout, or is completed from another."""
    assert vector.source is not None
    origin: Origin = vector.source.origin
    extra, missing = (origin.options.get(policy, "error") for policy in ("extra", "missing"))
    other = next((holder for holder in origin.borrowed.values() if holder is not template), None)
    if other is not None:
        fact = f"`{vector}` takes what it lacks from `{other.name}`, and the template is `{template.name}`"
        raise LayoutError(fact, hint=f"template={other.name}")
    try:
        compared(origin.own, template, subject, Terms(vector.source.kind, missing, extra, vector.source.part))
    except LayoutError as error:
        raise _with_way_out(error) from None


def _with_way_out(error: LayoutError) -> LayoutError:
    error.hint = (
        f"in a recipe: {error.hint}; `strip`, `rename`, `part` and `extra` are wm.open's too, and missing=MODEL"
    )
    return error
