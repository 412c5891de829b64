"""Writes a low-rank delta as a PEFT LoRA adapter, which peft loads onto the base model."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from weightmath.checkpoint.draft import sync_folder
from weightmath.checkpoint.lock import hidden
from weightmath.delta.adapter import CONFIG, WEIGHTS
from weightmath.delta.container import DeltaFile, Record
from weightmath.delta.decoding import DeltaReader
from weightmath.delta.numbers import decode
from weightmath.dtypes import FLOAT32
from weightmath.errors import LayoutError, OutputError

Array = np.ndarray[Any, np.dtype[Any]]

_ENDING = ".weight"
# Nothing in a checkpoint tells an embedding from a linear layer, and PEFT holds their factors in different forms.
_EMBEDDING = re.compile(r"(.*\.)?(?!embed_out$)(\w*embed\w*|wte|wpe|shared)")


def to_adapter(file: DeltaFile, path: str | Path) -> list[str]:
    """Write a PEFT folder; the names of tensors of the delta that it cannot hold, being no products.

    Tensors that the delta leaves as they are take no part. What an embedding is, is told by its name.

    Fails   LayoutError if no tensor is a product, OutputError if the folder exists
    """
    path = Path(path)
    records = {name: record for name, record in file.delta.records.items() if _is_product(record)}
    if not records:
        hint = "weightmath delta make BASE TUNED -o FILE --as low-rank --rank 8"
        raise LayoutError("holds no products of two matrices", where=str(file.path), hint=hint)
    if path.exists():
        raise OutputError("exists", where=str(path), hint="choose another name")
    part = hidden(path, "part")
    try:
        part.mkdir()
        _write(file, records, part)
        sync_folder(part)
        os.replace(part, path)
        sync_folder(path.parent)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", where=str(path)) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return [name for name, record in file.delta.records.items() if name not in records and record.norm != 0]


def _is_product(record: Record) -> bool:
    # Of a convolution lora_A has the kernel, lora_B is 1 x 1: as peft splits it.
    return record.encoder == "low-rank" and record.norm != 0 and record.entry.name.endswith(_ENDING)


def _write(file: DeltaFile, records: dict[str, Record], folder: Path) -> None:
    ranks = {name.removesuffix(_ENDING): record.rank or 0 for name, record in records.items()}
    most = max(ranks.values())
    others = {module: rank for module, rank in ranks.items() if rank != most}
    config = {
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
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    with DeltaReader(file) as reader, (folder / WEIGHTS).open("xb") as out:
        out.write(_header(records))
        for name, record in records.items():
            stored = record.stored or FLOAT32
            numbers = decode(np.frombuffer(reader.content(name, 0), stored.bits), stored).astype(np.float32, copy=False)
            rank, rows = record.rank or 0, record.entry.rows
            tall, wide = numbers[: rank * rows], numbers[rank * rows :]
            if _is_embedding(record):
                wide, tall = tall.reshape(rows, rank).T, wide.reshape(rank, -1).T
            out.write(wide.tobytes() + tall.tobytes())
        out.flush()
        os.fsync(out.fileno())


def _is_embedding(record: Record) -> bool:
    return bool(_EMBEDDING.fullmatch(record.entry.name.removesuffix(_ENDING))) and len(record.entry.shape) == 2


def _header(records: dict[str, Record]) -> bytes:
    """The A and B of each module, as float32, in the order in which they are written."""
    fields: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, record in records.items():
        rank, entry = record.rank or 0, record.entry
        kernel = entry.shape[1:]
        shapes = {"lora_A.weight": [rank, *kernel], "lora_B.weight": [entry.rows, rank, *(1 for _ in kernel[1:])]}
        if _is_embedding(record):
            shapes = {"lora_embedding_A": [rank, entry.rows], "lora_embedding_B": [entry.row_size, rank]}
        for part, shape in shapes.items():
            size = int(np.prod(shape)) * FLOAT32.itemsize
            key = f"base_model.model.{name.removesuffix(_ENDING)}.{part}"
            fields[key] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
            end += size
    text = json.dumps(fields).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
