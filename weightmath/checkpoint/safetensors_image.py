"""Plans a safetensors file: the section's tensors, with their metadata or a word on where they came from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

from weightmath.checkpoint.description import Section
from weightmath.checkpoint.flat_plan import FlatPlan, plan_flat
from weightmath.checkpoint.image import Extent, File, Image, Part, TensorPlan, Wishes, assemble
from weightmath.checkpoint.own_record import RECORD
from weightmath.checkpoint.safetensors import LENGTH, LONGEST_HEADER, METADATA, Header
from weightmath.errors import OutputError

ORIGIN = "converted_from"
# The order in which the format's own library writes: widest first, so that every tensor is aligned.
_WIDEST_FIRST = ("U64", "I64", "F64", "C64", "F32", "U32", "I32", "BF16", "F16", "U16", "I16",
                 "F8_E4M3", "F8_E5M2", "I8", "U8", "BOOL")  # fmt: skip


def plan_safetensors_image(section: Section, wishes: Wishes) -> Image:
    """The image of one safetensors file; see `plan_image`. With nothing changed it is the template to the byte."""
    flat = plan_flat(section, wishes)
    plans = in_order(section, flat.tensors)
    text = header_text(section, plans, {**metadata_of(section, flat), **flat.aliases, **as_texts(wishes.extra)})
    file, parts = lay_out("", 0, text, plans)
    return replace(assemble(section.checkpoint, [file], parts, aliases=flat.computed_aliases), unstored=flat.aliases)


def in_order(section: Section, plans: Sequence[TensorPlan]) -> list[TensorPlan]:
    """Tensors in the order of the file: the template's if that is one of this kind and they fit, else widest first.

    Fails   OutputError for a dtype that the format does not have
    """
    for plan in plans:
        if plan.new.safetensors not in _WIDEST_FIRST:
            raise OutputError(
                f"safetensors has no {plan.new}, and `{plan.tensor.entry.name}` is of it",
                hint=f"leave it out with drop: {plan.tensor.dotted}, or write a .ckpt",
            )
    if section.checkpoint.texts is not None:
        same = all(plan.new is plan.tensor.entry.dtype for plan in plans)
        return list(plans) if same else sorted(plans, key=lambda plan: -plan.new.itemsize)
    return sorted(plans, key=lambda plan: (_WIDEST_FIRST.index(str(plan.new.safetensors)), plan.tensor.entry.name))


def metadata_of(section: Section, flat: FlatPlan) -> dict[str, str]:
    """The template's metadata but for ties that are no more; of another container, where the tensors came from."""
    checkpoint = section.checkpoint
    if checkpoint.texts is not None:
        found = dict(checkpoint.texts)
        names = section.tensors.keys() - flat.aliases.keys()
        found = {name: text for name, text in found.items() if name not in names or text not in section.tensors}
        found.pop(RECORD, None)
    else:
        place = f": {section.name}" if section.name else ""
        found = {ORIGIN: f"{checkpoint.container} {checkpoint.path.name}{place}", "format": "pt"}
    return found


def as_texts(extra: Mapping[str, bytes]) -> dict[str, str]:
    """Further records as metadata."""
    return {name: content.decode() for name, content in extra.items()}


def header_text(section: Section, plans: Sequence[TensorPlan], metadata: Mapping[str, str]) -> bytes:
    """The header, padded; the template's own where it says the same. OutputError if it is too long for the format."""
    ends = list(accumulate((plan.nbytes for plan in plans), initial=0))
    content: dict[str, object] = {METADATA: dict(metadata)} if metadata else {}
    for plan, begin, end in zip(plans, ends, ends[1:], strict=False):
        entry = plan.tensor.entry
        offsets = [begin, end]
        content[entry.name] = {"dtype": plan.new.safetensors, "shape": list(entry.shape), "data_offsets": offsets}
    old = section.checkpoint.source
    if isinstance(old, Header) and {**old.content, METADATA: old.texts} == {METADATA: {}, **content}:
        return old.text
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > LONGEST_HEADER:
        raise OutputError(f"the header would have {len(text):,} bytes; the format allows {LONGEST_HEADER:,}")
    return text


def lay_out(name: str, number: int, text: bytes, plans: Iterable[TensorPlan]) -> tuple[File, list[Part]]:
    """A file of an output: its header and its tensors, one after the other."""
    head = len(text).to_bytes(LENGTH, "little") + text
    parts: list[Part] = [(Extent(number, 0, len(head)), head)]
    position = len(head)
    for plan in plans:
        parts.append((Extent(number, position, plan.nbytes), plan))
        position += plan.nbytes
    return File(name, position), parts
