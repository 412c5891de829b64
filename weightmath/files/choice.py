"""The files of a list: what a pattern finds, in an order that is stated, and which of them are taken.

Nothing but headers is read. An output of the recipe is never taken: the second run of a recipe would average its first.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from weightmath.checkpoint import open_checkpoint
from weightmath.checkpoint.folder import holds_model
from weightmath.errors import RecipeError
from weightmath.files.stored_number import stored_number
from weightmath.layout import Patterns

_ENTRY = "entry:"


@dataclass(frozen=True)
class Chosen:
    """The files of a list in order, and what became of the others.

    numbers   what they were sorted by, one per file, where it is a number stored in them
    left_out  files that the pattern finds too, and why each is not in the list
    """

    files: tuple[Path, ...]
    numbers: tuple[float, ...]
    left_out: tuple[tuple[Path, str], ...]


def choose(
    pattern: str,
    folder: Path,
    *,
    sort: str = "number",
    keep: tuple[str, int] | None = None,
    exclude: Sequence[str] = (),
    outputs: Collection[Path] = (),
) -> Chosen:
    """Choose the files of a list.

    Parameters
        pattern  a glob, relative to `folder`; `**` is any folders
        sort     number: epoch=9 before epoch=10; name: letter by letter; entry:PATH: by a number stored in each
        keep     ("first" | "last" | "best", count): that many from the beginning or the end; "best" are the highest
        exclude  patterns of names that are not taken
        outputs  files that the recipe writes

    Fails with RecipeError where nothing is found, fewer than `keep` asks for, or a stored number is missing.
    """
    left_out: list[tuple[Path, str]] = []
    found = []
    for path in _found(pattern, folder):
        reason = _reason(path, exclude, outputs)
        if reason:
            left_out.append((path, reason))
        else:
            found.append(path)
    if not found:
        raise _nothing(pattern, folder, left_out)
    numbers = _numbers(found, sort)
    ordered = _sorted(found, numbers, sort)
    chosen = ordered[_span(len(ordered), keep, pattern)]
    if keep:
        left_out += [(found[i], f"not among the {keep[0]} {keep[1]}") for i in ordered if i not in chosen]
    return Chosen(tuple(found[i] for i in chosen), tuple(numbers[i] for i in chosen if numbers), tuple(left_out))


def _found(pattern: str, folder: Path) -> list[Path]:
    """Files that a pattern finds, and folders that hold a model, each once, in natural order of their paths.

    A folder of which it finds a file is not meant itself.
    """
    names = glob.glob(os.path.expanduser(pattern), root_dir=folder, recursive=True)
    paths = [folder / name for name in sorted(set(names), key=natural)]
    inner = {parent for path in paths if path.is_file() for parent in path.parents}
    return [path for path in paths if path.is_file() or (path not in inner and holds_model(path))]


def _reason(path: Path, exclude: Sequence[str], outputs: Collection[Path]) -> str | None:
    """Why a file is not taken, or None."""
    if any(os.path.abspath(path) == os.path.abspath(output) for output in outputs):
        return "an output of the recipe"
    number = Patterns(exclude).first(path.name)
    return None if number is None else f"`except: {exclude[number]}`"


def _nothing(pattern: str, folder: Path, left_out: Sequence[tuple[Path, str]]) -> RecipeError:
    if left_out:
        listed = "; ".join(f"{path.name} is left out: {reason}" for path, reason in left_out[:3])
        return RecipeError(f"nothing is left of what `{pattern}` matches", hint=listed)
    fixed = Path(os.path.expanduser(re.split(r"[^/]*[*?\[]", pattern)[0] or "."))
    missing = next((part for part in (*reversed(fixed.parents), fixed) if not (folder / part).exists()), None)
    fact = f"the folder {folder / missing} does not exist" if missing else f"it is looked for in {folder.absolute()}"
    return RecipeError(f"no file matches `{pattern}`", hint=fact)


def natural(text: str) -> list[str | int]:
    """A key that puts epoch=9 before epoch=10: runs of digits count as whole numbers."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"([0-9]+)", text))]


def _numbers(found: Sequence[Path], sort: str) -> list[float]:
    """What each file stores at the path that `sort` names; nothing where names decide."""
    if not sort.startswith(_ENTRY):
        return []
    return [stored_number(open_checkpoint(path), sort.removeprefix(_ENTRY)) for path in found]


def _sorted(found: Sequence[Path], numbers: Sequence[float], sort: str) -> list[int]:
    """Places of the files in the order that was asked for; equal numbers keep the natural order of names."""
    places = range(len(found))
    if numbers:
        return sorted(places, key=lambda i: numbers[i])
    return sorted(places, key=lambda i: str(found[i])) if sort == "name" else list(places)


def _span(count: int, keep: tuple[str, int] | None, pattern: str) -> slice:
    """Which of the files in order are taken."""
    if keep is None:
        return slice(None)
    word, wanted = keep
    if wanted > count:
        raise RecipeError(f"`{word}: {wanted}`, and `{pattern}` finds {count}", hint=f"{word}: {count} takes all")
    return slice(wanted) if word == "first" else slice(count - wanted, None)
