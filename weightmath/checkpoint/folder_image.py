"""Plans a Hugging Face folder: safetensors in shards, their index, and from the template what makes it a model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from weightmath.checkpoint.description import Checkpoint, Section
from weightmath.checkpoint.flat_plan import FlatPlan, plan_flat
from weightmath.checkpoint.image import Companion, Extent, File, Image, Part, TensorPlan, Wishes, assemble
from weightmath.checkpoint.safetensors_image import as_texts, header_text, in_order, lay_out, metadata_of
from weightmath.dtypes import DTYPES, DType

CONFIG = "config.json"
# What transformers and what diffusers look for: without the other's name they find no weights.
MODEL, DIFFUSION = "model", "diffusion_pytorch_model"
# An adapter of PEFT has names of its own, by which it is found.
ADAPTER, ADAPTER_CONFIG = "adapter_model", "adapter_config.json"
# What belongs to a model besides its weights, by the names that transformers gives them. Not its README, which
# describes the template.
COMPANIONS = (
    "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model", "sentencepiece*.model", "*.tiktoken",
    "chat_template.jinja", "chat_template.json", "additional_chat_templates/*.jinja", "preprocessor_config.json",
    "processor_config.json", "image_processor_config.json", "video_preprocessor_config.json", "configuration_*.py",
    "modeling_*.py", "tokenization_*.py", "processing_*.py", "image_processing_*.py", "LICENSE*", "NOTICE*",
    "USE_POLICY*",
)  # fmt: skip


def plan_folder_image(section: Section, wishes: Wishes) -> Image:
    """The image of a folder of safetensors; see `plan_image`.

    Shards hold at most `wishes.shard` bytes, but at least one tensor. The configuration, tokenizer and the like come
    from the folder of the template, if it has a `config.json`; the dtype in there follows the weights. Files are called
    as transformers calls them, or as diffusers does where the template's are. An adapter of PEFT is one file, and keeps
    its name and configuration.
    """
    source = _folder_of(section.checkpoint)
    is_adapter = source is not None and _is_adapter(section.checkpoint, source)
    flat = plan_flat(section, wishes)
    shards = [list(flat.tensors)] if is_adapter else list(_shards(flat.tensors, wishes.shard))
    stem = _stem(section.checkpoint, source)
    names = [_shard_name(stem, number, len(shards)) for number in range(len(shards))]
    files: list[File] = []
    parts: list[Part] = []
    for number, (name, plans) in enumerate(zip(names, shards, strict=True)):
        file, inside = lay_out(name, number, *_shard(section, flat, plans, wishes if number == 0 else None))
        files.append(file)
        parts += inside
    known = {f"{stem}.safetensors.index.json": _index(flat, names, shards)} if len(shards) > 1 else {}
    companions = list(_companions(source, [ADAPTER_CONFIG] if is_adapter else [])) if source else []
    if source and (source / CONFIG).is_file():
        known[CONFIG] = _config(source / CONFIG, _new_dtype(flat.tensors))
    for name, content in known.items():
        parts.append((Extent(len(files), 0, len(content)), content))
        files.append(File(name, len(content)))
    image = assemble(section.checkpoint, files, parts, aliases=flat.computed_aliases, companions=companions)
    return replace(image, unstored=flat.aliases)


def _shards(plans: Sequence[TensorPlan], most: int) -> Iterator[list[TensorPlan]]:
    """Tensors in the order of the template, cut where the next would make a file too large."""
    shard: list[TensorPlan] = []
    size = 0
    for plan in plans:
        if shard and size + plan.nbytes > most:
            yield shard
            shard, size = [], 0
        shard.append(plan)
        size += plan.nbytes
    yield shard


def _stem(checkpoint: Checkpoint, source: Path | None) -> str:
    """What the files of the output are called, short of their numbers."""
    if source is not None and _is_adapter(checkpoint, source):
        return ADAPTER
    is_diffusion = source is not None and all(file.name.startswith(DIFFUSION) for file in checkpoint.files)
    return DIFFUSION if is_diffusion else MODEL


def _shard_name(stem: str, number: int, count: int) -> str:
    return f"{stem}.safetensors" if count == 1 else f"{stem}-{number + 1:05d}-of-{count:05d}.safetensors"


def _shard(
    section: Section, flat: FlatPlan, plans: Sequence[TensorPlan], wishes: Wishes | None
) -> tuple[bytes, list[TensorPlan]]:
    """Header and order of one file. Further records go into one of the files, whose wishes are given."""
    ordered = in_order(section, plans)
    inside = {plan.tensor.entry.name for plan in plans}
    tied = {name: of for name, of in flat.aliases.items() if of in inside}
    extra = as_texts(wishes.extra) if wishes else {}
    # transformers does not load files that name no format.
    return header_text(section, ordered, {"format": "pt", **metadata_of(section, flat), **tied, **extra}), ordered


def _index(flat: FlatPlan, names: Sequence[str], shards: Sequence[Sequence[TensorPlan]]) -> bytes:
    weight_map = {plan.tensor.entry.name: name for name, plans in zip(names, shards, strict=True) for plan in plans}
    total = sum(plan.nbytes for plan in flat.tensors)
    content = {"metadata": {"total_size": total}, "weight_map": weight_map}
    return _json(content, sort_keys=True)


def _json(content: object, *, sort_keys: bool = False) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=sort_keys, ensure_ascii=False) + "\n").encode()


def _folder_of(checkpoint: Checkpoint) -> Path | None:
    """The folder with the template's configuration."""
    folder = checkpoint.path if checkpoint.path.is_dir() else checkpoint.path.parent
    return folder if (folder / CONFIG).is_file() or _is_adapter(checkpoint, folder) else None


def _is_adapter(checkpoint: Checkpoint, folder: Path) -> bool:
    is_named_so = all(file.stem == ADAPTER for file in checkpoint.files)
    return is_named_so and (folder / ADAPTER_CONFIG).is_file()


def _companions(folder: Path, others: Sequence[str]) -> Iterator[Companion]:
    found = {path for pattern in (*COMPANIONS, *others) for path in folder.glob(pattern) if path.is_file()}
    for path in sorted(found):
        yield Companion(path.relative_to(folder).as_posix(), path, path.stat().st_size)


def _new_dtype(plans: Sequence[TensorPlan]) -> DType | None:
    """The dtype of most floating-point elements, if dtypes change."""
    if all(plan.new is plan.tensor.entry.dtype for plan in plans):
        return None
    elements: dict[DType, int] = {}
    for plan in plans:
        if plan.new.is_float:
            elements[plan.new] = elements.get(plan.new, 0) + plan.tensor.entry.size
    return max(elements, key=lambda dtype: elements[dtype])


def _config(path: Path, dtype: DType | None) -> bytes:
    """The configuration; with this dtype wherever it names one, as models made of several name it again."""
    content = path.read_bytes()
    try:
        config = json.loads(content) if dtype else None
    except ValueError:
        config = None  # it is the template's own, and copied as it is
    if not isinstance(config, dict) or dtype is None:
        return content
    for part in (config, *(value for key, value in config.items() if key.endswith("_config"))):
        for key in ("torch_dtype", "dtype"):
            if isinstance(part, dict) and part.get(key) in DTYPES:
                part[key] = dtype.name
    return _json(config)
