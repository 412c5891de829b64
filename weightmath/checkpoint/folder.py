"""Which file of a folder is the model that it holds."""

from __future__ import annotations

import re
from pathlib import Path

from weightmath.errors import CheckpointError, listed

DISTRIBUTED = ".metadata"
_LISTED = 6  # names in a message
_INDICES = (".safetensors.index.json", ".bin.index.json")
_WEIGHTS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
_SHARD = re.compile(r"-\d+-of-(?!0*1\.)\d+\.(safetensors|bin)$")  # one of several
# What trainers leave beside the weights.
_OTHERS = ("training_args", "optimizer", "scheduler", "rng_state", "scaler", "random_states")


def holds_model(folder: Path) -> bool:
    """Whether a path is a folder that holds a model, or several, by the names of its files."""
    endings = (*_INDICES, *_WEIGHTS, DISTRIBUTED)
    return folder.is_dir() and any(
        file.name.endswith(endings) and not file.name.startswith(_OTHERS) for file in folder.iterdir()
    )


def find_model(folder: Path) -> Path:
    """The file in a folder that opens its model: the index of shards, `.metadata`, or the one file of weights.

    Safetensors come before pickles, and an index before a single file.
    Fails   CheckpointError if there is none, if several could be meant, or for shards without an index; the message
            names them
    """
    files = sorted(file for file in folder.iterdir() if file.is_file())
    if folder / DISTRIBUTED in files:
        return folder / DISTRIBUTED
    for ending in (*_INDICES, _WEIGHTS[0], _WEIGHTS[1:]):
        found = [file for file in files if file.name.endswith(ending) and not file.name.startswith(_OTHERS)]
        shard = next((file for file in found if _SHARD.search(file.name)), None)
        if shard:
            index = _SHARD.sub(r".\1.index.json", shard.name)
            fact = f"holds shards of a model (`{shard.name}`) and no index of them"
            raise CheckpointError(fact, where=str(folder), hint=f"download {index} too")
        if len(found) > 1:
            names = listed([file.name for file in found], _LISTED)
            raise CheckpointError(f"holds several models: {names}", where=str(folder), hint=f"name one: {found[0]}")
        if found:
            return found[0]
    quantized = next((file.name for file in files if file.suffix == ".gguf"), None)
    if quantized:
        fact = f"holds GGUF files (`{quantized}`): weights quantized for inference"
        raise CheckpointError(fact, where=str(folder), hint="merge the checkpoint that they were made from")
    for file in sorted(folder.iterdir()):
        if file.name.endswith((*_INDICES, *_WEIGHTS)) and file.is_symlink() and not file.exists():
            fact = f"holds `{file.name}` as a link to `{file.readlink()}`, which is not there"
            raise CheckpointError(fact, where=str(folder), hint="download it again")
    inside = sorted({file.parent.name for file in folder.glob("*/*") if file.name.endswith((*_INDICES, *_WEIGHTS))})
    hint = f"its folders do: {listed(inside, _LISTED)}" if inside else None
    raise CheckpointError("is a folder without a model in it", where=str(folder), hint=hint)
