"""Reads LoRA adapters as low-rank deltas: PEFT's folders and kohya's files.

PEFT    adapter_model.safetensors with base_model.model.MODULE.lora_A.weight (r x columns) and lora_B.weight (rows x r),
        of an embedding lora_embedding_A (r x rows) and lora_embedding_B (columns x r), both the other way round;
        adapter_config.json with r, lora_alpha, use_rslora, rank_pattern, alpha_pattern
kohya   one file with PREFIX_MODULE.lora_down.weight, .lora_up.weight and .alpha, the dots of MODULE written as _;
        for Stable Diffusion 1 and 2 MODULE is diffusers' name, whatever the base is

The change of MODULE.weight is B A * alpha / r; alpha / sqrt(r) with use_rslora. Nothing else of LoRA's family
(DoRA, biases, Tucker's middle matrices) is such a product, and it is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from weightmath.checkpoint import Checkpoint, Reader, Section, open_checkpoint
from weightmath.checkpoint.description import check_is_file
from weightmath.checkpoint.strict_json import strict_json
from weightmath.delta.description import Delta, Record
from weightmath.delta.diffusers_names import original
from weightmath.delta.make import described
from weightmath.delta.numbers import decode
from weightmath.delta.options import Options
from weightmath.delta.sides import BY, check_no_delta, side_of
from weightmath.delta.writing import DeltaWriter
from weightmath.dtypes import FLOAT32
from weightmath.errors import CheckpointError, LayoutError, RecipeError, at, nearest
from weightmath.layout import Entry
from weightmath.regular import regular

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
# The VAE of a Stable Diffusion checkpoint: its names end as the network's do, and no program loads adapters for it.
VAE = "first_stage_model."
_PEFT = "base_model.model."
_PARTS = {
    ".lora_A.weight": "wide", ".lora_B.weight": "tall", ".lora_A.default.weight": "wide",
    ".lora_B.default.weight": "tall", ".lora_embedding_A": "tall", ".lora_embedding_B": "wide",
    ".lora_down.weight": "wide", ".lora_up.weight": "tall", ".alpha": "alpha",
}  # fmt: skip
_LONGEST = 1 << 20
_ORDER = "the adapter comes first: weightmath delta from-lora ADAPTER BASE -o FILE"
_KOHYA = re.compile(r"lora_(unet|te|te1|te2|transformer)_")


@dataclass
class _Pair:
    """What an adapter holds for one module: names of its tensors."""

    wide: str = ""
    tall: str = ""
    alpha: str = ""


def from_adapter(
    adapter: str | Path, base: Section, path: str | Path, *, threads: int = 2, force: bool = False
) -> Delta:
    """Write an adapter as a low-rank delta of a base.

    adapter   a PEFT folder, its adapter_model.safetensors, or a kohya file
    Fails     CheckpointError for what is no LoRA; LayoutError where the base lacks a module, or it has another shape
    """
    file, scale, checkpoint, pairs, targets = open_adapter(adapter, base)
    with ExitStack() as stack:
        reader = stack.enter_context(checkpoint.open())
        inputs = [file, *base.checkpoint.files]
        writer = stack.enter_context(DeltaWriter(path, list(targets.values()), inputs, force=force))
        records = []
        for module, pair in pairs.items():
            record, content = _product(reader, pair, module, scale, targets[module])
            writer.close_tensor(record.entry.name, writer.add(content))
            records.append(record)
        reader.check_unchanged()
        about = Delta("low-rank", {"adapter": file.name}, side_of(base, threads), None, None, BY, {})
        delta = replace(described(records, Options("dense"), about), error=None)
        writer.finish(delta)
    return delta


class Adapter(NamedTuple):
    """An adapter as its headers describe it: by module its pair of matrices, and the base's tensor for them."""

    file: Path
    scale: _Scale
    checkpoint: Checkpoint
    pairs: Mapping[str, _Pair]
    targets: Mapping[str, Entry]


def open_adapter(adapter: str | Path, base: Section) -> Adapter:
    """All that can be refused of an adapter and a base before numbers are read; fails as `from_adapter` does."""
    check_no_delta(base)
    if is_adapter(base.tensors):
        raise LayoutError("is a LoRA adapter, and no base for one", where=str(base.checkpoint.path), hint=_ORDER)
    folder = Path(adapter) if Path(adapter).is_dir() else Path(adapter).parent
    file = folder / WEIGHTS if Path(adapter).is_dir() else Path(adapter)
    scale = _scale(folder / CONFIG) if file.name == WEIGHTS else _Scale()
    checkpoint = open_checkpoint(file)
    pairs = _pairs(checkpoint)
    return Adapter(file, scale, checkpoint, pairs, {module: _target(module, base, file) for module in pairs})


def is_adapter(names: Collection[str]) -> bool:
    """Whether tensors of these names are a LoRA adapter's."""
    return bool(names) and all(name.endswith(tuple(_PARTS)) for name in names)


@dataclass(frozen=True)
class _Scale:
    """By what the products of an adapter are multiplied; PEFT's configuration says it."""

    alpha: float | None = None
    alphas: tuple[tuple[re.Pattern[str], float], ...] = ()
    is_root: bool = False

    def of(self, module: str, rank: int, own: float | None) -> float:
        """The factor of a module's product; `own` is an alpha that stands beside its matrices."""
        alpha = self._alpha(module.removeprefix(_PEFT)) if own is None else own
        return (rank if alpha is None else alpha) / (math.sqrt(rank) if self.is_root else rank)

    def _alpha(self, module: str) -> float | None:
        return next((alpha for pattern, alpha in self.alphas if pattern.match(module)), self.alpha)


def _scale(path: Path) -> _Scale:
    """What PEFT's configuration says about the scale; CheckpointError where it is no plain LoRA's."""
    try:
        check_is_file(path)
        if path.stat().st_size > _LONGEST:
            raise CheckpointError(f"has {path.stat().st_size:,} bytes, and at most {_LONGEST:,} are read")
        found = strict_json(path.read_bytes())
        if not isinstance(found, dict) or found.get("peft_type") != "LORA":
            kind = found.get("peft_type") if isinstance(found, dict) else None
            raise CheckpointError(f"is an adapter of type {kind}, not LORA")
        if found.get("use_dora"):
            raise CheckpointError("uses DoRA, which is no sum of a base and a product")
        patterns = found.get("alpha_pattern") or {}
        if not isinstance(patterns, dict):
            raise CheckpointError("its alpha_pattern is no table")
        alphas = tuple((_pattern(pattern), _number_of(alpha)) for pattern, alpha in patterns.items())
        alpha = found.get("lora_alpha")
        return _Scale(None if alpha is None else _number_of(alpha), alphas, bool(found.get("use_rslora")))
    except CheckpointError as error:
        raise at(str(path), error) from None


def _number_of(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise CheckpointError(f"an alpha is {value!r:.40}, which is no number")
    return float(value)


def _pattern(text: str) -> re.Pattern[str]:
    """A name that a module's ends with, perhaps with wildcards, as PEFT compares them."""
    try:
        return regular(rf"(.*\.)?({text})$")
    except RecipeError as error:
        raise CheckpointError(
            f"its alpha_pattern `{text:.40}` is no name with a few wildcards", hint=error.hint
        ) from None


def _pairs(checkpoint: Checkpoint) -> dict[str, _Pair]:
    pairs: dict[str, _Pair] = {}
    where, hint = str(checkpoint.path), f"if this is the base: {_ORDER}"
    if not any(section.name == "" for section in checkpoint.sections):
        raise CheckpointError("has no tensors at its top level, where adapters have theirs", where=where, hint=hint)
    names = checkpoint.section("").tensors
    is_other = not any(name.endswith(tuple(_PARTS)) for name in names)
    for name in names:
        ending = next((ending for ending in _PARTS if name.endswith(ending)), None)
        if ending is None:
            fact = f"`{name}` is no part of a plain LoRA"
            raise CheckpointError(fact, where=where, hint=hint if is_other else None)
        setattr(pairs.setdefault(name.removesuffix(ending), _Pair()), _PARTS[ending], name)
    for module, pair in pairs.items():
        if not (pair.wide and pair.tall):
            raise CheckpointError(f"`{module}` has one of two matrices", where=where)
    return pairs


def _target(module: str, base: Section, file: Path) -> Entry:
    """The tensor of the base that a module's product is added to."""
    own = module.removeprefix(_PEFT)
    known = {
        name.removesuffix(".weight"): tensor.entry for name, tensor in base.tensors.items() if name.endswith(".weight")
    }
    found = [known[own]] if own in known else []
    if not found and _KOHYA.match(module):
        flat = _KOHYA.sub("", module, count=1)
        adapted = {name: entry for name, entry in known.items() if not name.startswith(VAE)}
        found = _called(flat, adapted) or _called(original(flat) or flat, adapted)
    if len(found) != 1:
        what = f"the base {base.checkpoint.path.name}"
        fact = f"{what} has {'no' if not found else 'more than one'} weight for `{module}`"
        example = f"it has, for example: {next(iter(known), '')}.weight"
        nothing = f"none of its {len(base.tensors)} tensors has a name that ends in .weight: is it the right base?"
        raise LayoutError(fact, where=str(file), hint=nearest(own, known) or (example if known else nothing))
    return found[0]._replace(dtype=FLOAT32)


def _called(flat: str, known: Mapping[str, Entry]) -> list[Entry]:
    """The tensors of that name, in which dots are written as `_`; without any, those whose names end with it."""
    names = {name.replace(".", "_"): entry for name, entry in known.items()}
    return [names[flat]] if flat in names else [entry for name, entry in names.items() if name.endswith(f"_{flat}")]


def _product(reader: Reader, pair: _Pair, module: str, scale: _Scale, entry: Entry) -> tuple[Record, bytes]:
    wide, tall = _numbers(reader, pair.wide), _numbers(reader, pair.tall)
    if pair.tall.endswith(".lora_embedding_A"):
        wide, tall = wide.T, tall.T
    rank = len(wide)
    if not rank:
        raise CheckpointError(f"`{module}` has rank 0", where=str(reader.checkpoint.path))
    wide, tall = wide.reshape(rank, -1), tall.reshape(len(tall), -1)
    if tall.shape != (entry.rows, rank) or wide.shape[1] != entry.row_size:
        raise LayoutError(
            f"`{module}` is a product of {list(tall.shape)} and {list(wide.shape)}, and `{entry.name}` is "
            f"{list(entry.shape)}",
            where=str(reader.checkpoint.path),
        )
    alpha = _numbers(reader, pair.alpha).reshape(-1) if pair.alpha else np.empty(0)
    factor = scale.of(module, rank, float(alpha[0]) if alpha.size else None)
    scaled = (tall.astype(np.float64) * factor).astype(np.float32)
    # |B A| by way of two small products: the whole matrix is never needed.
    square = float(np.sum((scaled.T.astype(np.float64) @ scaled) * (wide.astype(np.float64) @ wide.T)))
    content = scaled.tobytes() + np.ascontiguousarray(wide).tobytes()
    norm = math.sqrt(max(square, 0.0))
    return Record(entry, "low-rank", (len(content),), norm=norm, stored=FLOAT32, rank=rank), content


def _numbers(reader: Reader, name: str) -> np.ndarray:
    tensor = reader.checkpoint.section("").tensors[name]
    return decode(reader.bits(tensor), tensor.entry.dtype).astype(np.float32, copy=False).reshape(tensor.entry.shape)
