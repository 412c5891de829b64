"""What a plan warns of: things that a recipe may say, but that people often did not mean."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from weightmath.algebra.graph import Vector, topological
from weightmath.checkpoint import TensorInfo
from weightmath.checkpoint.description import dotted
from weightmath.checkpoint.drop import is_dropped
from weightmath.checkpoint.hub import called
from weightmath.checkpoint.left_behind import left_behind
from weightmath.engine.plan import Output, Plan
from weightmath.engine.program import Compiler
from weightmath.errors import counted, listed
from weightmath.files import buffers
from weightmath.files.inputs import Opened, Origin
from weightmath.files.opening import Inputs
from weightmath.files.outputs import Save, left_out
from weightmath.files.subject import Subject
from weightmath.layout import Patterns
from weightmath.recipe import Recipe

# By the last words of a name: scales of quantized weights, and what else their module calls the codes.
_SCALES = {
    ".scales": (".qweight",),
    ".weight_scale": (".weight", ".weight_packed"),
    ".weight_scale_inv": (".weight",),
    ".scale_weight": (".weight",),
    ".SCB": (".weight",),
    ".weight.absmax": (".weight",),
}
_HEAD, _EMBEDDINGS = "lm_head.weight", ("embed_tokens.weight", ".wte.weight")
_FACTORS = (".lora_A.weight", ".lora_A.default.weight", ".lora_down.weight")
_LOW_IS_GOOD = re.compile(r"loss|error|perplexity|ppl|mse|mae|rmse|wer|cer|fid", re.IGNORECASE)


def caveats(
    inputs: Inputs, subject: Subject, plan: Plan, vectors: Mapping[str, Vector], saves: Sequence[Save]
) -> tuple[str, ...]:
    """All warnings of a planned recipe, each once."""
    recipe = inputs.recipe
    found = [*recipe.unused(inputs.deltas), *_lists(recipe)]
    for name in subject.partial:
        found.append(
            f"{recipe.where('fit')}: of `{name}` the first {subject.rows[name]} rows are merged and the others are the "
            "template's; that a row stands for the same token in all inputs is not checked"
        )
    compilers: dict[object, Compiler] = {}
    for save in saves:
        output = next(output for output in plan.request.outputs if output.name == save.name)
        if plan.kind(output.value) == "unknown":
            place = recipe.where("save", save.name)
            found.append(f"{place}: whether this is a model cannot be told from the formula")
        if save.encoding:
            continue
        changed = _changed(plan, output, vectors[save.template.name], compilers) & save.originals.keys()
        origins: list[Origin] = [node.source.origin for node in topological([output.value]) if node.source is not None]
        changed -= _borrowed(origins, save.template)
        found += _heads(recipe, origins)
        found += _twins(recipe, save, changed)
        if plan.kind(output.value) != "delta":
            found += _batch_statistics(save, changed)
        found += _products(recipe, save, changed)
        place = recipe.where("save", save.name)
        found += [f"{place}: {loss}" for loss in losses(save, "say so with keep: weights, or keep the container")]
        found += _not_understood(recipe, save)
    return tuple(dict.fromkeys(found))


def _lists(recipe: Recipe) -> Iterator[str]:
    for name, spec in recipe.spec.inputs.items():
        metric = spec.sort.partition(":")[2]
        if spec.best is not None and _LOW_IS_GOOD.search(metric):
            place = recipe.where("inputs", name, "best")
            yield f"{place}: `best` takes the highest `{metric}`; `first: {spec.best}` takes the lowest"


def _changed(plan: Plan, output: Output, template: Vector, compilers: dict[object, Compiler]) -> set[str]:
    """Tensors that an output computes and that are not just the template's, as far as names and shapes tell.

    compilers   one for each kind of tensor that was met, shared by the outputs
    """
    alike: dict[object, bool] = {}
    found = set()
    present = plan.facts.present[output.value].tolist()
    for entry, (key, name, is_there) in enumerate(zip(plan.group_keys, plan.layout.names, present, strict=True)):
        if key not in alike:
            if key not in compilers:
                compilers[key] = Compiler(plan, entry, frozenset())
            alike[key] = compilers[key].resolve(output.value) is template
        if is_there and not alike[key]:
            found.add(name)
    return found


def _borrowed(origins: Sequence[Origin], template: Opened) -> set[str]:
    """Tensors that inputs of an output take from the template, and none of them has of its own."""
    borrowed = {name for origin in origins for name in origin.borrowed}
    owned = [origin.tensors.keys() - origin.borrowed.keys() for origin in origins if origin.own is not template]
    return borrowed.difference(*owned)


def _heads(recipe: Recipe, origins: Sequence[Origin]) -> Iterator[str]:
    """A warning for each input that takes the template's head, while its own may be its embedding."""
    for origin in (one for one in origins if _HEAD in one.borrowed):
        name = origin.own.input
        embedding = next((tensor for tensor in origin.own.tensors if tensor.endswith(_EMBEDDINGS)), None)
        if embedding:
            rename = f'{{"{embedding.removesuffix("weight")}": "{_HEAD.removesuffix("weight")}"}}'
            yield (
                f"{recipe.where('inputs', name)}: `{name}` lacks `{_HEAD}` and takes the template's; where its head is "
                f"its embedding, read that as an input `head` with rename: {rename}, part: true, extra: ignore, say "
                f'`part: true` of `{name}` instead, and write overlay({name}, only(head, "{_HEAD}"))'
            )


def _batch_statistics(save: Save, changed: set[str]) -> Iterator[str]:
    floats = [name for name, info in save.template.tensors.items() if info.entry.dtype.is_float]
    statistics = [name for name in floats if buffers.is_batch_statistic(name)]
    merged = [name for name in statistics if name in changed]
    if merged:
        count = counted(len(merged), "tensor")
        yield f"BatchNorm statistics are merged by the formula ({count}); recompute them on data if you can"
    if changed and len(merged) < len(statistics):
        count = counted(len(statistics) - len(merged), "tensor")
        yield (
            f"BatchNorm statistics stay the template's ({count}) and may be stale for the new weights; recompute them "
            "on data if you can"
        )


def _products(recipe: Recipe, save: Save, changed: set[str]) -> Iterator[str]:
    """Warnings where the weights are products of tensors that are merged apart."""
    place, tensors = recipe.where("save", save.name), save.template.tensors
    scales = [
        name for name in tensors if name.endswith(tuple(_SCALES)) and not changed.isdisjoint(_coded(name, tensors))
    ]
    if scales:
        yield (
            f"{place}: {_some(scales)}: scales of quantized weights, merged apart from their codes, which gives no "
            "merge of the weights; merge the models from which they were quantized"
        )
    factors = sorted(name for name in changed if name.endswith(_FACTORS))
    if factors:
        yield (
            f"{place}: {_some(factors)}: factors of a LoRA adapter, merged apart, which gives no merge of their "
            "products; `weightmath delta from-lora` makes deltas of adapters, which do merge"
        )


def _coded(scale: str, tensors: Mapping[str, TensorInfo]) -> set[str]:
    """Scales and the codes that they belong to; nothing where these are no codes but plain numbers."""
    ending = next(ending for ending in _SCALES if scale.endswith(ending))
    names = {scale.removesuffix(ending) + other for other in _SCALES[ending]} & tensors.keys()
    dtypes = [tensors[name].entry.dtype for name in names]
    return {scale, *names} if any(not dtype.is_float or dtype.itemsize == 1 for dtype in dtypes) else set()


def losses(save: Save, way_out: str = "keep the container") -> Iterator[str]:
    """What the container of an output has no place for, of what its template has."""
    if save.left_behind:
        yield (
            f"the output holds the tensors of the section only, without {_some(save.left_behind)} of "
            f"{called(save.template.checkpoint.path)}; {way_out}"
        )
    names = save.image.unstored
    if names and save.template.checkpoint.texts is None:
        yield (
            "tied tensors are stored once, as safetensors asks, and the metadata says so: "
            f"{listed([f'`{name}` is left out, and is `{of}`' for name, of in names.items()], 3)}"
        )


def _not_understood(recipe: Recipe, save: Save) -> Iterator[str]:
    """Warnings where weights stay the template's, or have no place in the output, since they are no plain tensors."""
    section, dropped = save.template.section, Patterns(recipe.spec.save[save.name].drop)
    paths = {name: (*section.path, name) for name in section.not_plain}
    left = [name for name, path in paths.items() if not is_dropped(path, dropped)]
    lost = set(left_behind(section, save.form, ())) if left and not save.encoding else set()
    for is_lost, fate in ((False, "so they stay the template's"), (True, "which this container has no place for")):
        names = [name for name in left if (dotted(paths[name]) in lost) is is_lost]
        if names:
            yield (
                f"{_some(names)}: no plain tensors, but weights that are quantized, packed, sparse or of a class of "
                f"their own, {fate}"
            )


def _some(names: Sequence[str]) -> str:
    return listed([f"`{name}`" for name in names], 3)


def _twins(recipe: Recipe, save: Save, changed: set[str]) -> Iterator[str]:
    """A warning for each place that holds the same names as the merged tensors and stays as it was."""
    section, spec = save.template.section, recipe.spec.save[save.name]
    places = list(_places(save.template)) if changed else []
    merged = {section.tensors[save.originals[name]].number for name in changed if places}
    is_left_out = left_out(section, spec.drop, "weights" if save.left_behind else spec.keep)
    file = called(save.template.checkpoint.path)
    for twin, tensors in places:
        left = [info for info in tensors if info.entry.dtype.is_float and info.number not in merged]
        if not all(map(is_left_out, left)):
            pattern = dotted((*section.path, f"{twin}*")) if twin.endswith(".") else twin
            yield (
                f"{recipe.where('save', save.name)}: `{twin}` in {file} holds the same "
                f'names and stays the OLD model; leave it out with drop: "{pattern}", or merge it as an input with '
                f'section: "{twin}"'
            )


def _places(template: Opened) -> Iterator[tuple[str, list[TensorInfo]]]:
    """Places in a checkpoint that hold the names of the template again, as `section:` would name them."""
    section = template.section
    for twin in section.twins:
        if not twin.endswith(".") or twin == ".":
            yield twin, list(section.checkpoint.section(twin).tensors.values())
        elif twin != template.prefix:
            yield twin, [info for name, info in section.tensors.items() if name.startswith(twin)]
    if template.prefix:
        yield from _beside(template).items()


def _beside(template: Opened) -> dict[str, list[TensorInfo]]:
    """Tensors outside the template's prefix that have its names, with or without their dots, by their first word."""
    inside = {info.entry.name[len(template.prefix) :].replace(".", "") for info in template.tensors.values()}
    found: dict[str, list[TensorInfo]] = {}
    for name, info in template.section.tensors.items():
        first, _, rest = name.partition(".")
        if not name.startswith(template.prefix) and {name.replace(".", ""), rest.replace(".", "")} & inside:
            found.setdefault(f"{first}.", []).append(info)
    return found
