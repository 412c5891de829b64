"""`weightmath clean`: remove what stopped runs have left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weightmath.cli import options
from weightmath.cli.failures import REFUSED, failing

if TYPE_CHECKING:
    from weightmath.files.leftovers import Leftover

Places = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[FOLDER | OUTPUT]...", help="Where to look; without any, the current folder."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")]


def clean(places: Places = None, dry_run: DryRun = False, json: options.Json = False) -> None:
    """Remove what stopped runs have left: unfinished outputs and their journals, which are hidden files.

    A run that is stopped keeps what it has done, so that the same command can go on from there. This gives the room
    back instead. What a run is at work on stays, as do all checkpoints under their own names.
    """
    with failing(REFUSED, as_json=json):
        from weightmath.files.leftovers import leftovers

        found = [one for place in places or [Path()] for one in leftovers(place)]
        free = [one for one in found if not one.in_use]
        if not dry_run:
            for one in free:
                one.remove()
        if json:
            from weightmath.plain import as_json

            print(as_json({"removed": list(map(_plain, free)), "in_use": [_plain(o) for o in found if o.in_use]}))
        else:
            _print(found, dry_run=dry_run)


def _plain(one: Leftover) -> dict[str, object]:
    return {"path": str(one.path), "output": str(one.output), "kind": one.kind, "bytes": one.bytes}


def _print(found: list[Leftover], *, dry_run: bool) -> None:
    from weightmath.cli.page import Page
    from weightmath.cli.quantities import size_text

    page = Page()
    for one in found:
        if one.in_use:
            page.line(f"{one.path}: a run is at work on it")
        else:
            page.line(f"{'would remove' if dry_run else 'removed'} {one.path} ({size_text(one.bytes)})")
    if not found:
        page.line("nothing was left")
