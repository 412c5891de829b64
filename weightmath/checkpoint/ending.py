"""Which container an output gets: its name's ending says so."""

from __future__ import annotations

from pathlib import PurePath
from typing import Literal

from weightmath.errors import OutputError, nearest

SHARD = 5 * 10**9  # bytes in a file of a folder, where nothing else is said

Form = Literal["torch zip", "safetensors", "folder"]
ENDINGS: dict[str, Form] = {
    ".ckpt": "torch zip", ".pt": "torch zip", ".pth": "torch zip", ".bin": "torch zip", ".pth.tar": "torch zip",
    ".safetensors": "safetensors",
}  # fmt: skip


def bare(path: PurePath) -> str:
    """What a model is called: its file's name without the ending that tells its container, a folder's as it is."""
    name = path.name
    known = [ending for ending in (*ENDINGS, ".index.json", ".delta") if name.lower().endswith(ending)]
    ending = max(known, key=len, default="")
    return name[: -len(ending)] if len(ending) < len(name) and ending else name


def form_of(path: str) -> Form:
    """The container of an output: a torch zip, one file of safetensors, or `merged/` for a folder of safetensors.

    Fails   OutputError for any other ending
    """
    if path.endswith("/"):
        return "folder"
    if path == "-":
        raise OutputError("an output is a file or a folder, and not standard output", hint="-o merged.ckpt")
    ending = PurePath(path).suffix
    # `.pth.tar` is what ImageNet examples call their checkpoints; no tar is in it.
    whole = ".pth.tar" if path.lower().endswith(".pth.tar") else ending
    form = ENDINGS.get(whole.lower())
    if form is None:
        known = f"{' '.join(ENDINGS)}, or `{path}/` for a folder of safetensors"
        close = nearest(ending, ENDINGS)
        fact = f"no container has the ending `{ending}`" if ending else "no ending tells its container"
        raise OutputError(f"`{path}`: {fact}", hint=f"{close} known: {known}" if close else f"known: {known}")
    return form
