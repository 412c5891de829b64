"""The manual of functions and methods: a table of all, or the page of one, from their docstrings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from weightmath.cli.failures import REFUSED, failing

if TYPE_CHECKING:
    from weightmath.functions import Declared


def print_manual(kind: str, declared: Mapping[str, Declared], name: str | None, *, as_json: bool) -> None:
    """Print the table, or the page of one name; `kind` is "function" or "method"."""
    with failing(REFUSED, as_json=as_json):
        chosen = declared.values() if name is None else [_find(kind, declared, name)]
        if as_json:
            from weightmath.plain import as_json as text_of

            print(text_of({f"{kind}s": [_record(one) for one in chosen]}))
        elif name is None:
            _print_table(declared)
        else:
            _print_page(declared[name])


def _find(kind: str, declared: Mapping[str, Declared], name: str) -> Declared:
    from weightmath.errors import RecipeError, nearest
    from weightmath.functions import FUNCTIONS
    from weightmath.methods import load

    if name in declared:
        return declared[name]
    other = next((word for word, names in (("function", FUNCTIONS), ("method", load())) if name in names), None)
    hint = f"it is a {other}: weightmath {other}s {name}" if other else nearest(name, declared)
    raise RecipeError(f"there is no {kind} `{name}`", hint=hint or f"weightmath {kind}s lists them all")


def _record(one: Declared) -> dict[str, str]:
    return {"name": one.name, "signature": str(one.signature), "summary": one.summary, "page": one.page}


def _print_table(declared: Mapping[str, Declared]) -> None:
    from weightmath.cli.page import Page

    page = Page()
    for one in declared.values():
        page.paragraph(str(one.signature), style="bold", hanging=len(one.name) + 1)
        page.paragraph(f"    {one.summary}", hanging=4)


def _print_page(one: Declared) -> None:
    import inspect

    from weightmath.cli.page import Page

    page = Page()
    page.paragraph(str(one.signature), style="bold", hanging=len(one.name) + 1)
    page.line()
    for line in inspect.cleandoc(one.page).splitlines():
        # "Reference:  Yadav et al.": what does not fit goes on below the text, not below its heading.
        found = re.match(r"[A-Z]\w*:\s+|\s*", line)
        page.paragraph(line, hanging=len(found.group()) if found else 0)
