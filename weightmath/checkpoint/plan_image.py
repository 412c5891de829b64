"""From a template and wishes to an image, whatever the container."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal

from weightmath.checkpoint.description import Section
from weightmath.checkpoint.ending import SHARD, Form
from weightmath.checkpoint.folder_image import plan_folder_image
from weightmath.checkpoint.fresh_zip import plan_fresh_zip
from weightmath.checkpoint.image import Image, Wishes
from weightmath.checkpoint.safetensors_image import plan_safetensors_image
from weightmath.checkpoint.torch_zip import TorchZip
from weightmath.checkpoint.zip_image import plan_zip_image
from weightmath.dtypes import DType
from weightmath.errors import OutputError, WeightmathError, at
from weightmath.paused import paused_collection


def plan_image(
    section: Section,
    computed: Collection[str],
    *,
    dtypes: Mapping[str, DType] | None = None,
    device: Literal["cpu", "keep"] = "cpu",
    drop: Sequence[str] = (),
    keep: Literal["all", "weights"] = "all",
    extra: Mapping[str, bytes] | None = None,
    form: Form = "torch zip",
    shard: int = SHARD,
) -> Image:
    """The output that is the section's checkpoint, but for these tensors and wishes.

    Where the template has another container than the output, the output is the section's tensors and nothing else.

    section    the template and the section that is merged
    computed   names of its tensors that will be written; all others are copied
    dtypes     new dtypes of computed tensors; the others keep theirs
    device     "cpu": the section's tensors load to the CPU; "keep": to where the template's did
    drop       patterns (globs or `re:...`) of entries to leave out, by dotted path: `optimizer*`, `state_dict.betas`
    keep       "weights": only the section, under its own name; "all": everything else too
    extra      further records that torch.load ignores (a recipe, fingerprints), by name; texts in safetensors
    form       the output's container
    shard      most bytes in a file of a folder

    With nothing changed and `device="keep"` the output is the template to the byte.
    Fails      OutputError where the wishes contradict the template: tensors that share elements but are not
               computed together, storages that cannot change their dtype alone, drops that match nothing
    """
    wishes = Wishes(frozenset(computed), dtypes or {}, device, drop, keep, extra or {}, shard)
    try:
        _check(section, wishes)
        with paused_collection():
            return _planner(section, form)(section, wishes)
    except WeightmathError as error:
        raise at(str(section.checkpoint.path), error) from None


def _planner(section: Section, form: Form) -> Callable[[Section, Wishes], Image]:
    if form == "folder":
        return plan_folder_image
    if form == "safetensors":
        return plan_safetensors_image
    return plan_zip_image if isinstance(section.checkpoint.source, TorchZip) else plan_fresh_zip


def _check(section: Section, wishes: Wishes) -> None:
    for name in sorted(wishes.computed - section.tensors.keys()):
        raise OutputError(f"section `{section.name or '.'}` has no tensor `{name}`")
    for name in wishes.dtypes:
        if name not in wishes.computed and wishes.dtypes[name] != section.tensors[name].entry.dtype:
            raise OutputError(f"`{name}` is copied from the template and cannot change its dtype")
