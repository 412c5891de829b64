"""The gallery: recipes to start from, each found by what a person wants.

The recipes lie in `recipes/` of the repository and are part of the package. The first line of each says what it is for,
`# I want to ...`; the README's table and `weightmath new` are made of these lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from weightmath.errors import RecipeError, nearest

_FOLDER = Path(__file__).parent / "recipes"
_WANT = "# I want to "
# Checkpoints that recipes of the repository run on; a person who starts from one has files of their own.
_SAMPLES = re.compile(r"(\.\./)?quickstart/")


@dataclass(frozen=True)
class Starter:
    """One recipe of the gallery.

    kind  its name: `ties`, or with the folder of its family, `diffusion/block_weights`
    want  what it is for, to be read after "I want to"
    text  the recipe as a start, with its comments; paths are plain file names
    """

    kind: str
    want: str
    text: str

    @property
    def file_name(self) -> str:
        """What its file is called."""
        return f"{self.kind.rpartition('/')[2]}.yaml"


@cache
def starters() -> dict[str, Starter]:
    """All recipes of the gallery by their kinds: those of no family first, then family by family."""
    paths = sorted(_FOLDER.rglob("*.yaml"), key=lambda path: (path.parent != _FOLDER, path))
    found = [_starter(path) for path in paths]
    return {one.kind: one for one in found}


def _starter(path: Path) -> Starter:
    text = path.read_text(encoding="utf-8")
    want = text.partition("\n")[0].removeprefix(_WANT)
    return Starter(path.relative_to(_FOLDER).with_suffix("").as_posix(), want, _SAMPLES.sub("", text))


def starter(kind: str) -> Starter:
    """The recipe of that kind; the family may be left out. RecipeError with the nearest kind otherwise."""
    known = starters()
    short = {name.rpartition("/")[2]: name for name in known}
    chosen = kind if kind in known else short.get(kind)
    if chosen is None:
        raise RecipeError(
            f"there is no recipe `{kind}` in the gallery", hint=nearest(kind, [*known, *short]) or "weightmath new"
        )
    return known[chosen]


def table() -> str:
    """The gallery as a table for the README: what a person wants, and the recipe for it."""
    rows = [f"| {one.want} | [`{kind}`](recipes/{kind}.yaml) |" for kind, one in starters().items()]
    return "\n".join(["| I want to ... | recipe |", "|---|---|", *rows])
