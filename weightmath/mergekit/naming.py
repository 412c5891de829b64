"""What the models of mergekit are called in a recipe, and where they lie."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

# Files whose folder says more than their name.
_GENERIC = ("model", "pytorch_model", "consolidated", "diffusion_pytorch_model", "checkpoint")
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def is_file(model: str) -> bool:
    """Whether a model is named by a file of weights, as mergekit-pytorch takes them."""
    return model.endswith(_WEIGHTS)


def path_of(model: str) -> str:
    """The path of an input: a local path as it is, `hf:org/name` for a model of the Hub. What exists here is local."""
    plain = model.partition("@")[0]
    local = is_file(model) or model.startswith((".", "/", "~")) or os.path.exists(os.path.expanduser(model))
    return model if local or not _HUB_NAME.fullmatch(plain) else f"hf:{model}"


def names_of(models: Iterable[str], bases: Collection[str], taken: Collection[str]) -> Mapping[str, str]:
    """A name for each model: `base` where there is one base, else the last part of its path in plain letters."""
    names: dict[str, str] = {}
    for model in models:
        wanted = "base" if [model] == list(bases) else identifier(model)
        names[model] = _free(wanted, {*taken, *names.values()})
    return names


def identifier(model: str) -> str:
    """A name of the language for a path or name: `mistral_7b_v0_1` for `mistralai/Mistral-7B-v0.1`."""
    parts = model.partition("@")[0].rstrip("/").split("/")
    stem = Path(parts[-1]).stem if is_file(parts[-1]) else parts[-1]
    if stem in _GENERIC and len(parts) > 1 and parts[-2] not in ("", ".", ".."):
        stem = parts[-2]
    plain = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")
    return plain if plain[:1].isalpha() else f"m_{plain}".rstrip("_")


def _free(wanted: str, taken: Collection[str]) -> str:
    if wanted not in taken:
        return wanted
    return next(name for name in (f"{wanted}_{i}" for i in range(2, len(taken) + 3)) if name not in taken)
