"""Models in the local cache of the Hugging Face Hub: `hf:org/name`. Nothing is downloaded."""

from __future__ import annotations

import os
import re
from pathlib import Path

from weightmath.errors import CheckpointError, nearest
from weightmath.paths import expanded

PREFIX = "hf:"
_SNAPSHOT = re.compile(r"(?:.*/)?models--([^/]+)/snapshots/([^/]+)((?:/[^/]+)*)")
_DIGITS = 12  # of a commit


def is_in_hub(path: str | Path) -> bool:
    """Whether a path means a model of the Hub."""
    return str(path).startswith(PREFIX)


def called(path: Path) -> str:
    """What to call a file or folder: its name; in the cache, where folders are called by commits, the model's."""
    found = _SNAPSHOT.fullmatch(path.as_posix())
    if found is None:
        return path.name
    repository, commit, inside = found.groups()
    return f"{PREFIX}{repository.replace('--', '/', 1)}@{commit[:_DIGITS]}{inside}"


def absolute(path: str | Path) -> str:
    """A path as it is from any folder; a model of the Hub has the same name in all."""
    return str(path) if is_in_hub(path) else os.path.abspath(expanded(path))


def located(path: str | Path) -> Path:
    """The file or folder that a path means. CheckpointError where the cache has no such model of the Hub."""
    return find_in_hub(path) if is_in_hub(path) else expanded(path)


def find_in_hub(path: str | Path) -> Path:
    """The folder or file in the cache that `hf:org/name[@revision][/folder or file]` means.

    The revision is a branch, a tag or the first digits of a commit; `main` if none is given. The cache is at
    HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub.
    Fails   CheckpointError if it is not there
    """
    where = str(path)
    words = where.removeprefix(PREFIX).split("/")
    if any(word in ("", ".", "..") for word in words):
        raise CheckpointError("is no name of a model on the Hub", where=where, hint="hf:org/name, hf:org/name@revision")
    *owner, name = words[:2]
    name, _, revision = name.partition("@")
    folder = cache() / "--".join(("models", *owner, name))
    repository = "/".join((*owner, name))
    if not folder.is_dir():
        known = [f"{PREFIX}{one.name[len('models--') :].replace('--', '/', 1)}" for one in cache().glob("models--*")]
        hint = nearest(where, known) or f"download it first: hf download {repository}"
        raise CheckpointError(f"is not in the cache ({cache()})", where=where, hint=hint)
    snapshot = _snapshot(folder, revision or "main")
    if snapshot is None:
        kept = sorted(one.relative_to(folder / "refs").as_posix() for one in folder.glob("refs/**/*") if one.is_file())
        kept += sorted(one.name for one in folder.glob("snapshots/*"))
        hint = f"the cache has: {' '.join(kept)}" if kept else f"download it first: hf download {repository}"
        raise CheckpointError(f"has no revision `{revision or 'main'}` in the cache", where=where, hint=hint)
    found = snapshot.joinpath(*words[2:])
    if not found.exists():
        names = " ".join(sorted(one.name for one in snapshot.iterdir()))
        raise CheckpointError(f"has no `{'/'.join(words[2:])}` in the cache", where=where, hint=f"it has: {names}")
    return found


def cache() -> Path:
    """The folder of the Hub's cache."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return Path(os.environ[variable]).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{shared}/huggingface"
    return Path(home).expanduser() / "hub"


def _snapshot(folder: Path, revision: str) -> Path | None:
    """The snapshot that a branch, a tag or the beginning of a commit means."""
    reference = folder / "refs" / revision
    commit = reference.read_text().strip() if reference.is_file() else revision
    found = [one for one in folder.glob("snapshots/*") if one.name.startswith(commit)]
    return found[0] if len(found) == 1 else None
