"""Writes a low-rank delta as a LoRA adapter: a folder for peft, or a file with kohya's names for diffusion programs.

Modules in kohya's file are called as programs look for them: those of Stable Diffusion 1 and 2 as diffusers calls them,
all others (SDXL's, those of a base in diffusers' form) as the base does. Loaded and fused by diffusers 0.42 and peft
0.21, all of a small U-Net's and text encoder's tensors come out as they were tuned to 1e-7, of both layouts.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from weightmath.checkpoint.draft import sync_folder
from weightmath.checkpoint.ending import bare
from weightmath.checkpoint.lock import hidden
from weightmath.delta.adapter import CONFIG, VAE, WEIGHTS
from weightmath.delta.container import DeltaFile
from weightmath.delta.decoding import DeltaReader, factors_of
from weightmath.delta.description import Record
from weightmath.delta.diffusers_names import diffusers, is_stable_diffusion_1_or_2
from weightmath.dtypes import FLOAT32
from weightmath.errors import LayoutError, OutputError, unwritable
from weightmath.text_files import check_folder

_ENDING = ".weight"
_FILE = ".safetensors"
# Nothing in a checkpoint tells an embedding from a linear layer, and PEFT holds their factors in different forms.
_EMBEDDING = re.compile(r"(.*\.)?(?!embed_out$)(\w*embed\w*|wte|wpe|shared)")
# Where checkpoints of Stable Diffusion have their parts, and what kohya calls them.
_DIFFUSION, _UNET = "model.diffusion_model.", "lora_unet_"
_PREFIXES = {
    _DIFFUSION: _UNET,
    "cond_stage_model.transformer.": "lora_te_",
    "conditioner.embedders.0.transformer.": "lora_te1_",
    "conditioner.embedders.1.model.": "lora_te2_",
    "text_model.": "lora_te_text_model_",
}


class Part(NamedTuple):
    """One tensor of an adapter: its name, its shape, and what it is of the tall factor and the wide one."""

    key: str
    shape: tuple[int, ...]
    values: Callable[[np.ndarray, np.ndarray], np.ndarray]

    @property
    def size(self) -> int:
        """Bytes, as float32."""
        return int(np.prod(self.shape)) * FLOAT32.itemsize


def check_free(path: Path, file: DeltaFile, *, force: bool = False) -> None:
    """OutputError where an adapter cannot get its name: there is something, no folder for it, or another's ending.

    force   a file may be replaced by a file, but not the delta, and a folder that holds only an adapter by a folder
    """
    where, is_file = str(path), path.suffix == _FILE
    if path.exists() and not force:
        raise OutputError("exists", where=where, hint="choose another name, or allow it with --force")
    if path.exists() and path.is_dir() == is_file:
        fact = "is a folder, and the output a file" if is_file else "is a file, and the output a folder"
        raise OutputError(fact, where=where, hint="choose another name")
    if path.is_file() and os.path.samefile(path, file.path):
        fact = "is an input: an output never replaces an input"
        raise OutputError(fact, where=where, hint="choose another name")
    others = sorted(one.name for one in path.iterdir() if one.name not in (WEIGHTS, CONFIG)) if path.is_dir() else []
    if others:
        fact = f"holds more than an adapter (`{others[0]}`), and would be lost as a whole"
        raise OutputError(fact, where=where, hint="choose another name, or remove the folder yourself")
    check_folder(path)
    if not is_file and bare(path) != path.name and not path.exists():
        hint = f"a folder, {path.with_name(bare(path))}/, for peft; or as kohya, {path.with_suffix(_FILE)}"
        raise OutputError(f"no adapter has the ending `{path.suffix}`", where=where, hint=hint)


def to_adapter(file: DeltaFile, path: str | Path, *, force: bool = False) -> list[str]:
    """Write an adapter; the names of tensors of the delta that it cannot hold: no products, or for kohya of a VAE.

    path    a name that ends in .safetensors is a file as kohya's, anything else a PEFT folder
    force   replace an adapter of that name. A folder steps aside first: for a moment there is none under the name
    Tensors that the delta leaves as they are take no part. What an embedding is, PEFT's alone, is told by its name.
    Fails   LayoutError if no tensor is a product, OutputError if there is something of that name, DiskError while it
            writes
    """
    path = Path(path)
    records = {name: record for name, record in file.delta.records.items() if _is_product(record)}
    if path.suffix == _FILE:
        records = {name: record for name, record in records.items() if not name.startswith(VAE)}
    if not records:
        hint = "weightmath delta make BASE TUNED -o FILE --as low-rank --rank 8"
        raise LayoutError("holds no products of two matrices that an adapter can hold", where=str(file.path), hint=hint)
    check_free(path, file, force=force)
    part, old = hidden(path, "part"), hidden(path, "old")
    try:
        if path.suffix == _FILE:
            renamed = is_stable_diffusion_1_or_2(file.delta.records)
            _write_tensors(file, records, partial(_kohya_parts, renamed=renamed), part)
        else:
            part.mkdir()
            _write_tensors(file, records, _peft_parts, part / WEIGHTS)
            (part / CONFIG).write_text(json.dumps(_config(records), indent=2) + "\n")
            sync_folder(part)
        if path.is_dir():
            _remove(old)
            os.rename(path, old)
        os.replace(part, path)
        sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from None
    finally:
        if old.exists() and not path.exists():
            os.rename(old, path)
        _remove(old)
        _remove(part)
    return [name for name, record in file.delta.records.items() if name not in records and record.norm != 0]


def _remove(path: Path) -> None:
    if path.is_file() or path.is_symlink():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


def _is_product(record: Record) -> bool:
    return record.encoder == "low-rank" and record.norm != 0 and record.entry.name.endswith(_ENDING)


def _config(records: Mapping[str, Record]) -> dict[str, object]:
    ranks = {name.removesuffix(_ENDING): record.rank or 0 for name, record in records.items()}
    most = max(ranks.values())
    others = {module: rank for module, rank in ranks.items() if rank != most}
    return {
        "peft_type": "LORA",
        "r": most,
        "lora_alpha": most,
        "rank_pattern": others,
        "alpha_pattern": others,
        "target_modules": list(ranks),
        "bias": "none",
        "lora_dropout": 0.0,
        "fan_in_fan_out": False,
        "inference_mode": True,
        "base_model_name_or_path": None,
        "task_type": None,
    }


def _peft_parts(record: Record) -> list[Part]:
    entry, rank, module = record.entry, record.rank or 0, record.entry.name.removesuffix(_ENDING)
    prefix = f"base_model.model.{module}"
    if _EMBEDDING.fullmatch(module) and len(entry.shape) == 2:
        return [
            Part(f"{prefix}.lora_embedding_A", (rank, entry.rows), lambda tall, wide: tall.T),
            Part(f"{prefix}.lora_embedding_B", (entry.row_size, rank), lambda tall, wide: wide.T),
        ]
    return _two_parts(record, f"{prefix}.lora_A{_ENDING}", f"{prefix}.lora_B{_ENDING}")


def _kohya_parts(record: Record, *, renamed: bool) -> list[Part]:
    module = record.entry.name.removesuffix(_ENDING)
    start = next((start for start in _PREFIXES if module.startswith(start)), "")
    flat = module.removeprefix(start).replace(".", "_")
    if renamed and start == _DIFFUSION:
        flat = diffusers(flat) or flat
    name = _PREFIXES.get(start, _UNET) + flat
    alpha = Part(f"{name}.alpha", (), lambda tall, wide: np.array(wide.shape[0], np.float32))
    return [*_two_parts(record, f"{name}.lora_down{_ENDING}", f"{name}.lora_up{_ENDING}"), alpha]


def _two_parts(record: Record, wide_key: str, tall_key: str) -> list[Part]:
    """Of a convolution the wide factor has the kernel, and the tall one is 1 x 1."""
    rank, kernel = record.rank or 0, record.entry.shape[1:]
    return [
        Part(wide_key, (rank, *kernel), lambda tall, wide: wide),
        Part(tall_key, (record.entry.rows, rank, *(1 for _ in kernel[1:])), lambda tall, wide: tall),
    ]


def _write_tensors(
    file: DeltaFile, records: Mapping[str, Record], parts_of: Callable[[Record], list[Part]], path: Path
) -> None:
    parts = {name: parts_of(record) for name, record in records.items()}
    with DeltaReader(file) as reader, path.open("xb") as out:
        out.write(_header([part for some in parts.values() for part in some]))
        for name, record in records.items():
            tall, wide = factors_of(reader.content(name, 0), record)
            out.writelines(part.values(tall, wide).tobytes() for part in parts[name])
        out.flush()
        os.fsync(out.fileno())


def _header(parts: Sequence[Part]) -> bytes:
    """The header of a safetensors file with these tensors, float32, one after the other."""
    fields: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for part in parts:
        fields[part.key] = {"dtype": "F32", "shape": list(part.shape), "data_offsets": [end, end + part.size]}
        end += part.size
    text = json.dumps(fields).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
